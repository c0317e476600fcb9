// SPDX-License-Identifier: Apache-2.0
#include "texts.h"

#include <algorithm>

namespace m3e {
namespace {

// Bytes of the texts in a window: work for every thread, and a bound on the memory of their ids.
constexpr size_t kLeastWindow = 1 << 18;
constexpr size_t kWindowPerThread = 1 << 16;
constexpr size_t kBytesPerToken = 8;  // more than most have; the rest of a long text is cut off

Utf8Texts part(const Utf8Texts& texts, size_t begin, size_t count) {
  return {texts.data + begin, texts.lengths + begin, count, begin};
}

// Copies of texts with the prompt before them.
std::vector<std::string> prompted(const PromptedTexts& given, size_t begin, size_t count) {
  std::vector<std::string> texts;
  for (size_t i = begin; i < begin + count; ++i) {
    texts.push_back(given.prompt);
    texts.back().append(given.texts.data[i], given.texts.lengths[i]);
  }
  return texts;
}

}  // namespace

size_t TextReader::window(const PromptedTexts& given, size_t begin, size_t most) const {
  const size_t longest = static_cast<size_t>(max_length_) * kBytesPerToken;
  const size_t room = std::max(kLeastWindow, static_cast<size_t>(threads_) * kWindowPerThread);
  size_t bytes = 0, count = 0;
  while (count < most && begin + count < given.texts.count && bytes < room) {
    const size_t length = given.prompt.size() + given.texts.lengths[begin + count];
    bytes += std::min(length, longest) + 1;
    if (given.are_pairs()) bytes += std::min(given.seconds.lengths[begin + count], longest);
    ++count;
  }
  return count;
}

TokenWindow TextReader::read(const PromptedTexts& given, size_t begin, size_t count,
                             int64_t* cut) const {
  int64_t* const window_cut = cut ? cut + begin : nullptr;
  const Utf8Texts seconds =
      given.are_pairs() ? part(given.seconds, begin, count) : Utf8Texts{nullptr, nullptr, 0};
  if (given.prompt.empty()) return tokenize(part(given.texts, begin, count), seconds, window_cut);
  std::vector<const char*> data;
  std::vector<size_t> lengths;
  const std::vector<std::string> texts = prompted(given, begin, count);
  for (const std::string& each : texts) {
    data.push_back(each.data());
    lengths.push_back(each.size());
  }
  return tokenize({data.data(), lengths.data(), count, begin}, seconds, window_cut);
}

TokenWindow TextReader::tokenize(const Utf8Texts& texts, const Utf8Texts& seconds,
                                 int64_t* cut) const {
  const bool count = cut != nullptr;
  const std::vector<TokenRun> runs =
      seconds.data
          ? tokenize_pairs(tokenizer_, pool_, threads_, {texts, seconds}, max_length_, count)
          : tokenize_batch(tokenizer_, pool_, threads_, texts, max_length_, count);
  TokenWindow window;
  window.offsets.assign(1, 0);
  for (const TokenRun& run : runs) {
    for (const size_t length : run.lengths) {
      window.offsets.push_back(window.offsets.back() + static_cast<int64_t>(length));
    }
    if (cut) cut = std::copy(run.cut.begin(), run.cut.end(), cut);
    window.ids.insert(window.ids.end(), run.ids.begin(), run.ids.end());
    window.types.insert(window.types.end(), run.types.begin(), run.types.end());
  }
  return window;
}

int64_t TextReader::prompt_length(const std::string& prompt) const {
  if (prompt.empty()) return 0;
  std::vector<int32_t> ids;
  tokenizer_.encode(prompt, max_length_, false, ids);
  const bool ends_special = !ids.empty() && tokenizer_.is_special(ids.back());
  return static_cast<int64_t>(ids.size()) - (ends_special ? 1 : 0);
}

}  // namespace m3e
