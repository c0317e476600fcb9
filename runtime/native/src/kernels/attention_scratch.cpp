// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

namespace m3e {

// With `columns` and `wide` the length and the head size, each rounded up to a multiple of 16:
//
//   attention.h         keys and values, 2 · columns · wide, and scores of 16 rows, 16 · columns
//   attention_int16.h   for each row a scale, a largest score, a sum in 16 lanes, and codes of the
//                       query, 18 · columns + columns · pairs; of a block of 64 keys the codes of
//                       keys and values, 64 · pairs + 32 · wide, and a scale per column, wide
//
// No tile has more than 16 rows, so scratch grows linearly with the length: 512 tokens and heads of
// 64 need 73,728 floats, which is 288 KiB for each thread.
int64_t attention_scratch(int length, int head_size) {
  constexpr int64_t kMostRows = 16, kKeysTogether = 64;
  const int64_t columns = round_up(length, 16), wide = round_up(head_size, 16);
  const int64_t pairs = round_up(head_size, 32) / 2;
  const int64_t floats = 2 * columns * wide + kMostRows * columns;
  const int64_t shorts = columns * (18 + pairs) + kKeysTogether * pairs + 33 * wide;
  return floats > shorts ? floats : shorts;
}

}  // namespace m3e
