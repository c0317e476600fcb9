// SPDX-License-Identifier: Apache-2.0
// Texts of a caller, each with the same prompt before it, and their token ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "thread_pool.h"
#include "tokenizer/token_batch.h"

namespace m3e {

struct PromptedTexts {
  Utf8Texts texts;
  std::string prompt;  // in UTF-8
  // Second texts, without a prompt, of as many pairs whose first ones are `texts`. Without data,
  // there are none.
  Utf8Texts seconds = {nullptr, nullptr, 0};

  bool are_pairs() const { return seconds.data != nullptr; }
};

// Token ids of consecutive texts, as Engine::encode takes them.
struct TokenWindow {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets;
  std::vector<int32_t> types;  // of the tokens of pairs; else empty
};

// Tokenizes texts for a model, in windows of bounded size.
class TextReader {
 public:
  TextReader(const Tokenizer& tokenizer, int32_t max_length, ThreadPool& pool, int threads)
      : tokenizer_(tokenizer), max_length_(max_length), pool_(pool), threads_(threads) {}

  // Number of texts from `begin` on that are tokenized together, at most `most`.
  size_t window(const PromptedTexts& given, size_t begin, size_t most) const;

  // Tokenizes `count` texts from `begin` on. If `cut` is not null, cut[begin + i] becomes the
  // number of tokens that were cut off. Throws Error(argument) that names a text that is not UTF-8.
  TokenWindow read(const PromptedTexts& given, size_t begin, size_t count, int64_t* cut) const;

  // Number of tokens of `prompt` at the start of a text: those of the prompt alone, without a
  // special token at its end.
  int64_t prompt_length(const std::string& prompt) const;

 private:
  TokenWindow tokenize(const Utf8Texts& texts, const Utf8Texts& seconds, int64_t* cut) const;

  const Tokenizer& tokenizer_;
  const int32_t max_length_;
  ThreadPool& pool_;
  const int threads_;
};

}  // namespace m3e
