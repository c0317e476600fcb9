// SPDX-License-Identifier: Apache-2.0
// Products with smmla-type instructions: a 2 × 2 block of sums from two rows and two columns of 8
// inputs. Twice the work of usdot for each instruction. Same interface as gemm_int8.h.
#pragma once

#include "gemm_int8.h"

namespace m3e {
namespace {

// Two rows × 16 columns as eight 2 × 2 blocks, two steps of 4 inputs at a time.
struct PairSums {
  int32x4_t block[8];
};

inline uint8x16_t two_rows(const uint8_t* first, const uint8_t* second) {
  return vcombine_u8(vld1_u8(first), vld1_u8(second));
}

inline void multiply_pairs(PairSums& sums, uint8x16_t rows, const int8_t* weights) {
  for (int i = 0; i < 4; ++i) {
    const int32x4_t near = vreinterpretq_s32_s8(vld1q_s8(weights + 16 * i));
    const int32x4_t far = vreinterpretq_s32_s8(vld1q_s8(weights + 64 + 16 * i));
    const int8x16_t left = vreinterpretq_s8_s32(vzip1q_s32(near, far));
    const int8x16_t right = vreinterpretq_s8_s32(vzip2q_s32(near, far));
    sums.block[2 * i] = vusmmlaq_s32(sums.block[2 * i], rows, left);
    sums.block[2 * i + 1] = vusmmlaq_s32(sums.block[2 * i + 1], rows, right);
  }
}

inline Ints row_of(const PairSums& sums, bool second) {
  Ints out;
  for (int i = 0; i < 4; ++i) {
    const int64x2_t left = vreinterpretq_s64_s32(sums.block[2 * i]);
    const int64x2_t right = vreinterpretq_s64_s32(sums.block[2 * i + 1]);
    out.part[i] = vreinterpretq_s32_s64(second ? vzip2q_s64(left, right) : vzip1q_s64(left, right));
  }
  return out;
}

constexpr int kPairs = 2;  // pairs of rows in a tile: 16 registers of sums

template <int kCount>
inline void pair_tile(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, int row,
                      int panel) {
  const int inputs = round_up(w.inputs, kInputsAlign);
  const int8_t* weights = w.panels + static_cast<int64_t>(panel) * inputs * kPanelColumns;
  const uint8_t* codes = x.codes + static_cast<int64_t>(row) * x.stride;
  PairSums sums[kCount];
  for (auto& pair : sums) {
    for (auto& block : pair.block) block = vdupq_n_s32(0);
  }
  for (int k = 0; k < inputs; k += 8) {
#pragma GCC unroll 4
    for (int pair = 0; pair < kCount; ++pair) {
      const uint8_t* first = codes + static_cast<int64_t>(2 * pair) * x.stride + k;
      multiply_pairs(sums[pair], two_rows(first, first + x.stride), weights + k * kPanelColumns);
    }
  }
  const Restore restore(w, panel);
  for (int r = 0; r < 2 * kCount; ++r) {
    const Ints total = row_of(sums[r / 2], r % 2);
    const Floats product = restore(total, x.scale[row + r], x.minimum[row + r]);
    end_vector(to, row + r, panel, product);
  }
}

// A row without a partner.
inline void single_row(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, int row,
                       int panel) {
  const int64_t bytes = bytes_of_panel(w);
  const Ahead ahead(w.panels + (panel + 1) * bytes, bytes, bytes, {row, row + 1}, row, 1,
                    bytes / (kLinesTogether * kLine));
  Ints total;
  sum_tile<1, 1>(x, w, row, panel, ahead, &total);
  end_vector(to, row, panel, Restore(w, panel)(total, x.scale[row], x.minimum[row]));
}

void gemm_int8_i8mm(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, Range rows,
                    Range panels) {
  for (int panel = panels.begin; panel < panels.end; ++panel) {
    int row = rows.begin;
    for (; row + 2 * kPairs <= rows.end; row += 2 * kPairs) pair_tile<kPairs>(x, w, to, row, panel);
    for (; row + 2 <= rows.end; row += 2) pair_tile<1>(x, w, to, row, panel);
    if (row < rows.end) single_row(x, w, to, row, panel);
  }
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
