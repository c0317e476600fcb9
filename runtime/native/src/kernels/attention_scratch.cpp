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
//   attention_rounded.h for each row a scale, a largest score and a sum in 16 lanes, 18 · rows, and
//                       a scale per column, wide; of a block of 64 keys, codes of the values,
//                       32 · wide, and of queries and keys
//   attention_int16.h   in pairs: rows · pairs + 64 · pairs
//   attention_tiles.h   in steps of 64 numbers, with 16 rows more, which a tile reads:
//                       (rows + 16 + 64) · 32 · steps
//
// No tile has more than 16 rows. 512 tokens or more and heads of 64 need 73,728 floats, which is
// 288 KiB for each thread.
int64_t attention_scratch(int length, int head_size) {
  constexpr int64_t kMostRows = 16, kKeysTogether = 64, kKeysOfBlock = 256;
  const int64_t columns = round_up(std::min(length, kLengthAtOnce), 16);
  const int64_t rows = round_up(std::min(length, kQueriesTogether), 16);
  // Without the overflow of round_up, whatever the size.
  const int64_t wide = (int64_t{head_size} + 15) / 16 * 16;
  const int64_t pairs = (int64_t{head_size} + 31) / 32 * 16;
  const int64_t steps = (int64_t{head_size} + 63) / 64;
  const int64_t at_once = 2 * columns * wide + kMostRows * columns;
  const int64_t blocks = kKeysOfBlock * (2 * wide + kMostRows) + 2 * kQueriesTogether;
  const int64_t codes =
      std::max((rows + kKeysTogether) * pairs, (rows + kMostRows + kKeysTogether) * 32 * steps);
  return std::max({at_once, blocks, 18 * rows + 33 * wide + codes});
}

}  // namespace m3e
