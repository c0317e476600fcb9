// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "c_api.h"
#include "file.h"
#include "tokenizer/token_batch.h"

using m3e::guarded;
using m3e::require;

namespace {

m3e_tokenizer* make_tokenizer(std::string_view json, const m3e_options* options) {
  const int32_t threads = m3e::checked_threads(m3e::read_options(options).threads);
  return new m3e_tokenizer{m3e::Tokenizer(json), threads};
}

template <class Value>
Value* allocate(size_t count) {
  auto* values = static_cast<Value*>(std::malloc(std::max<size_t>(count, 1) * sizeof(Value)));
  if (!values) throw std::bad_alloc();
  return values;
}

void check_texts(const char* const* texts, const size_t* lengths, size_t count) {
  if (count == 0) return;
  require(texts, "texts");
  require(lengths, "lengths");
  for (size_t i = 0; i < count; ++i) require(texts[i] || lengths[i] == 0, "a text");
}

size_t tokens_of(const std::vector<m3e::TokenRun>& runs) {
  size_t tokens = 0;
  for (const m3e::TokenRun& run : runs) tokens += run.ids.size();
  return tokens;
}

// What m3e_tokens and m3e_pairs share. The caller frees them in any case.
template <class Tokens>
void fill(const std::vector<m3e::TokenRun>& runs, size_t texts, Tokens& tokens) {
  tokens.ids = allocate<int32_t>(tokens_of(runs));
  tokens.offsets = allocate<int64_t>(texts + 1);
  tokens.cut = allocate<int64_t>(texts);
  tokens.texts = texts;
  int32_t* id = tokens.ids;
  int64_t* cut = tokens.cut;
  int64_t* offset = tokens.offsets;
  *offset = 0;
  for (const m3e::TokenRun& run : runs) {
    id = std::copy(run.ids.begin(), run.ids.end(), id);
    cut = std::copy(run.cut.begin(), run.cut.end(), cut);
    for (const size_t length : run.lengths) {
      const int64_t begin = *offset++;
      *offset = begin + static_cast<int64_t>(length);
    }
  }
}

void fill_types(const std::vector<m3e::TokenRun>& runs, m3e_pairs& pairs) {
  int32_t* type = pairs.types = allocate<int32_t>(tokens_of(runs));
  for (const m3e::TokenRun& run : runs) type = std::copy(run.types.begin(), run.types.end(), type);
}

m3e_status tokenize(const m3e_tokenizer* tokenizer, const m3e::Utf8Texts& texts, int32_t most,
                    bool count, m3e_tokens* tokens, char* message) {
  if (tokens) *tokens = {};
  const m3e_status status = guarded(message, [&] {
    require(tokenizer, "tokenizer");
    require(tokens, "tokens");
    check_texts(texts.data, texts.lengths, texts.count);
    fill(m3e::tokenize_batch(tokenizer->tokenizer, tokenizer->pool, tokenizer->threads, texts, most,
                             count),
         texts.count, *tokens);
  });
  if (status != M3E_OK) m3e_tokens_free(tokens);
  return status;
}

m3e_status tokenize(const m3e_tokenizer* tokenizer, const m3e::Utf8Pairs& given, int32_t most,
                    bool count, m3e_pairs* pairs, char* message) {
  if (pairs) *pairs = {};
  const m3e_status status = guarded(message, [&] {
    require(tokenizer, "tokenizer");
    require(pairs, "pairs");
    check_texts(given.firsts.data, given.firsts.lengths, given.firsts.count);
    check_texts(given.seconds.data, given.seconds.lengths, given.seconds.count);
    const std::vector<m3e::TokenRun> runs = m3e::tokenize_pairs(
        tokenizer->tokenizer, tokenizer->pool, tokenizer->threads, given, most, count);
    fill(runs, given.firsts.count, *pairs);
    fill_types(runs, *pairs);
  });
  if (status != M3E_OK) m3e_pairs_free(pairs);
  return status;
}

template <class Tokens>
void free_tokens(Tokens& tokens) {
  std::free(tokens.ids);
  std::free(tokens.offsets);
  std::free(tokens.cut);
  tokens = {};
}

}  // namespace

m3e_status m3e_tokenizer_load(const char* path, const m3e_options* options,
                              m3e_tokenizer** tokenizer, char* message) {
  if (tokenizer) *tokenizer = nullptr;
  return guarded(message, [&] {
    require(path, "path");
    require(tokenizer, "tokenizer");
    try {
      const m3e::MappedFile file(path);
      const auto* json = reinterpret_cast<const char*>(file.data());
      *tokenizer = make_tokenizer({json, file.size()}, options);
    } catch (const m3e::Error& error) {
      if (error.kind == m3e::ErrorKind::argument || error.kind == m3e::ErrorKind::file) throw;
      throw m3e::Error(error.kind, std::string(path) + ": " + error.what());
    }
  });
}

m3e_status m3e_tokenizer_parse(const char* json, size_t bytes, const m3e_options* options,
                               m3e_tokenizer** tokenizer, char* message) {
  if (tokenizer) *tokenizer = nullptr;
  return guarded(message, [&] {
    require(json, "json");
    require(tokenizer, "tokenizer");
    *tokenizer = make_tokenizer({json, bytes}, options);
  });
}

m3e_status m3e_tokenize(const m3e_tokenizer* tokenizer, const char* const* texts,
                        const size_t* lengths, size_t count, int32_t most, m3e_tokens* tokens,
                        char* message) {
  return tokenize(tokenizer, {texts, lengths, count}, most, true, tokens, message);
}

m3e_status m3e_tokenize_marked(const m3e_tokenizer* tokenizer, const char* const* texts,
                               const size_t* lengths, size_t count, int32_t most,
                               m3e_tokens* tokens, char* message) {
  return tokenize(tokenizer, {texts, lengths, count}, most, false, tokens, message);
}

m3e_status m3e_tokenize_one(const m3e_tokenizer* tokenizer, const char* text, size_t length,
                            int32_t most, int32_t* ids, int32_t* count, int64_t* cut,
                            char* message) {
  if (count) *count = 0;
  return guarded(message, [&] {
    require(tokenizer, "tokenizer");
    require(text || length == 0, "text");
    require(ids, "ids");
    require(count, "count");
    if (most < 1) throw m3e::Error(m3e::ErrorKind::argument, "most is below 1");
    std::vector<int32_t> found;
    const int64_t lost = tokenizer->tokenizer.encode({text, length}, most, cut != nullptr, found);
    std::copy(found.begin(), found.end(), ids);
    *count = static_cast<int32_t>(found.size());
    if (cut) *cut = lost;
  });
}

m3e_status m3e_tokenize_pairs(const m3e_tokenizer* tokenizer, const char* const* firsts,
                              const size_t* first_lengths, const char* const* seconds,
                              const size_t* second_lengths, size_t count, int32_t most,
                              m3e_pairs* pairs, char* message) {
  return tokenize(tokenizer, {{firsts, first_lengths, count}, {seconds, second_lengths, count}},
                  most, true, pairs, message);
}

m3e_status m3e_tokenize_pairs_marked(const m3e_tokenizer* tokenizer, const char* const* firsts,
                                     const size_t* first_lengths, const char* const* seconds,
                                     const size_t* second_lengths, size_t count, int32_t most,
                                     m3e_pairs* pairs, char* message) {
  return tokenize(tokenizer, {{firsts, first_lengths, count}, {seconds, second_lengths, count}},
                  most, false, pairs, message);
}

void m3e_tokens_free(m3e_tokens* tokens) {
  if (tokens) free_tokens(*tokens);
}

void m3e_pairs_free(m3e_pairs* pairs) {
  if (!pairs) return;
  std::free(pairs->types);
  free_tokens(*pairs);
}

void m3e_tokenizer_free(m3e_tokenizer* tokenizer) { delete tokenizer; }

int32_t m3e_special_tokens(const m3e_tokenizer* tokenizer) {
  return tokenizer->tokenizer.special_tokens();
}
int32_t m3e_pair_special_tokens(const m3e_tokenizer* tokenizer) {
  const m3e::PairTemplate& pair = tokenizer->tokenizer.pair_template();
  return pair.unsupported.empty() ? static_cast<int32_t>(pair.special_tokens()) : -1;
}
int32_t m3e_tokenizer_vocabulary_size(const m3e_tokenizer* tokenizer) {
  return static_cast<int32_t>(tokenizer->tokenizer.vocabulary_size());
}
