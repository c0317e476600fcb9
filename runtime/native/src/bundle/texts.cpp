#include "texts.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "error.h"

namespace m3e {
namespace {

// Bytes of the texts in a window: enough tokens for every thread, and a bound on their memory.
constexpr size_t kWindowBytes = 1 << 18;
constexpr size_t kBytesPerToken = 8;      // more than most; the rest of a long text is cut off
constexpr size_t kLeastBytes = 1 << 13;   // fewer are tokenized before another thread is awake
constexpr size_t kChunksPerThread = 4;    // so that threads end at nearly the same time

// Tokens of consecutive texts, or why they could not be tokenized.
struct Chunk {
  TokenWindow tokens;
  std::exception_ptr error;
};

size_t bytes_of(const Texts& texts, size_t begin, size_t count) {
  size_t bytes = 0;
  for (size_t i = begin; i < begin + count; ++i) bytes += texts.prompt.size() + texts.lengths[i];
  return bytes;
}

void clear(TokenWindow& tokens) {
  tokens.ids.clear();
  tokens.offsets.assign(1, 0);
}

void append(TokenWindow& tokens, const TokenWindow& more) {
  const auto before = static_cast<int64_t>(tokens.ids.size());
  tokens.ids.insert(tokens.ids.end(), more.ids.begin(), more.ids.end());
  for (size_t i = 1; i < more.offsets.size(); ++i) tokens.offsets.push_back(before + more.offsets[i]);
}

}  // namespace

size_t TextReader::window(const Texts& texts, size_t begin, size_t most) const {
  const size_t longest = static_cast<size_t>(max_length_) * kBytesPerToken;
  size_t bytes = 0, count = 0;
  while (count < most && begin + count < texts.count && bytes < kWindowBytes) {
    bytes += std::min(texts.prompt.size() + texts.lengths[begin + count], longest) + 1;
    ++count;
  }
  return count;
}

void TextReader::read(const Texts& texts, size_t begin, size_t count, int64_t* cut, Stop& stop,
                      TokenWindow& tokens) const {
  clear(tokens);
  if (threads_ > 1 && count > 1 && bytes_of(texts, begin, count) >= kLeastBytes) {
    read_side_by_side(texts, begin, count, cut, stop, tokens);
  } else {
    read_some(texts, begin, begin + count, cut, stop, tokens);
  }
  if (stop.stopped()) throw Error(ErrorKind::stopped, "stopped by the caller");
}

void TextReader::read_some(const Texts& texts, size_t begin, size_t end, int64_t* cut, Stop& stop,
                           TokenWindow& tokens) const {
  std::string prompted;
  for (size_t i = begin; i < end && !stop.stopped(); ++i) {
    std::string_view text(texts.data[i], texts.lengths[i]);
    if (!texts.prompt.empty()) text = prompted.assign(texts.prompt).append(text);
    try {
      const int64_t lost = tokenizer_.encode(text, max_length_, cut != nullptr, tokens.ids);
      if (cut) cut[i] = lost;
    } catch (const Error& error) {
      throw Error(error.kind, "text " + std::to_string(i) + ": " + error.what());
    }
    tokens.offsets.push_back(static_cast<int64_t>(tokens.ids.size()));
    stop.look();
  }
}

void TextReader::read_side_by_side(const Texts& texts, size_t begin, size_t count, int64_t* cut,
                                   Stop& stop, TokenWindow& tokens) const {
  std::vector<Chunk> chunks(
      std::min(count, static_cast<size_t>(threads_) * kChunksPerThread));
  const auto first = [&](size_t chunk) { return begin + count * chunk / chunks.size(); };
  std::atomic<size_t> next{0};
  pool_.run(threads_, [&](Team&, int) {
    for (size_t at = next++; at < chunks.size(); at = next++) {
      try {
        clear(chunks[at].tokens);
        read_some(texts, first(at), first(at + 1), cut, stop, chunks[at].tokens);
      } catch (...) {
        chunks[at].error = std::current_exception();
      }
    }
  });
  for (const Chunk& chunk : chunks) {
    if (chunk.error) std::rethrow_exception(chunk.error);
    append(tokens, chunk.tokens);
  }
}

int64_t TextReader::prompt_length(const std::string& prompt) const {
  if (prompt.empty()) return 0;
  std::vector<int32_t> ids;
  tokenizer_.encode(prompt, max_length_, false, ids);
  const bool ends_special = !ids.empty() && tokenizer_.is_special(ids.back());
  return static_cast<int64_t>(ids.size()) - (ends_special ? 1 : 0);
}

}  // namespace m3e
