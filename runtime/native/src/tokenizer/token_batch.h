// SPDX-License-Identifier: Apache-2.0
// Token ids of many texts, computed by several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../thread_pool.h"
#include "tokenizer.h"

namespace m3e {

struct Utf8Texts {
  const char* const* data;
  const size_t* lengths;
  size_t count;
  size_t first = 0;  // number of the first one, for messages
};

// Pairs of a first and a second text; both have as many, and the same number of the first one.
struct Utf8Pairs {
  Utf8Texts firsts;
  Utf8Texts seconds;
};

// Ids of consecutive texts, or pairs.
struct TokenRun {
  std::vector<int32_t> ids;
  std::vector<int32_t> types;   // of pairs, parallel to `ids`
  std::vector<size_t> lengths;  // ids of each text
  std::vector<int64_t> cut;     // tokens that were cut off each
};

// Runs whose concatenation is the batch, in the order of the texts. `most` and `count` as for
// Tokenizer::encode. Throws Error(argument) that names the first text that is not UTF-8.
std::vector<TokenRun> tokenize_batch(const Tokenizer& tokenizer, ThreadPool& pool, int threads,
                                     const Utf8Texts& texts, int64_t most, bool count);

// The same for pairs; see PairEncoder.
std::vector<TokenRun> tokenize_pairs(const Tokenizer& tokenizer, ThreadPool& pool, int threads,
                                     const Utf8Pairs& pairs, int64_t most, bool count);

}  // namespace m3e
