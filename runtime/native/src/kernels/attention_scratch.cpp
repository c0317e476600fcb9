// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels.h"

namespace m3e {

// With `columns` the length and `rows` the queries together, each rounded up to a multiple of 16
// and bounded by kLengthAtOnce and kQueriesTogether, and `wide` the head size rounded up in the
// same way:
//
//   attention.h         keys and values, 2 · columns · wide, and scores of 16 rows, 16 · columns
//   attention_blocks.h  keys and values of a block, 2 · 256 · wide, and scores of 16 rows, 16 ·
//   256;
//                       for each row a largest score and a sum, 2 · rows
//   attention_int16.h   for each row a scale, a largest score, a sum in 16 lanes, and codes of the
//                       query, 18 · rows + rows · pairs; of a block of 64 keys the codes of
//                       keys and values, 64 · pairs + 32 · wide, and a scale per column, wide
//
// No tile has more than 16 rows. 512 tokens or more and heads of 64 need 73,728 floats, which is
// 288 KiB for each thread.
int64_t attention_scratch(int length, int head_size) {
  constexpr int64_t kMostRows = 16, kKeysTogether = 64, kKeysOfBlock = 256;
  const int64_t columns = round_up(std::min(length, kLengthAtOnce), 16);
  const int64_t rows = round_up(std::min(length, kQueriesTogether), 16);
  const int64_t wide = round_up(head_size, 16), pairs = round_up(head_size, 32) / 2;
  const int64_t at_once = 2 * columns * wide + kMostRows * columns;
  const int64_t blocks = kKeysOfBlock * (2 * wide + kMostRows) + 2 * kQueriesTogether;
  const int64_t shorts = rows * (18 + pairs) + kKeysTogether * pairs + 33 * wide;
  return std::max({at_once, blocks, shorts});
}

}  // namespace m3e
