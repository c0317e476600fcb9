// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

namespace m3e {

// With `columns` and `wide` the length and the head size, each rounded up to a multiple of 16:
//
//   attention.h         keys and values, 2 · columns · wide, and scores of 16 rows, 16 · columns
//   attention_int16.h   the same keys and values in 16 bits, columns · wide; scores of 16 rows and
//                       their 16-bit shares, 16 · columns + 8 · columns; scales of the values and
//                       16-bit codes of 16 rows, wide + 8 · wide
//
// No tile has more than 16 rows, so scratch grows linearly with the length: 512 tokens and heads of
// 64 need 73,728 floats, which is 288 KiB for each thread.
int attention_scratch(int length, int head_size) {
  constexpr int kMostRows = 16;
  const int columns = round_up(length, 16), wide = round_up(head_size, 16);
  const int floats = 2 * columns * wide + kMostRows * columns;
  const int shorts = columns * wide + kMostRows * (columns + columns / 2) + (1 + 16 / 2) * wide;
  return floats > shorts ? floats : shorts;
}

}  // namespace m3e
