// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16: the rows and the weights are rounded to 8 significant bits, the sums are
// float32.
//
// Each pair of inputs is added as AVX512-BF16 does it: first the odd input, then the even one, each
// with one rounding. The product of two such numbers is exact in float32, so that every instruction
// set gives the same bytes, but for those of Arm that multiply bfloat16: see bfloat16_neon.h.
#pragma once

#include <cstring>

#include "gemm_float.h"

namespace m3e {
namespace {

// The bits of a float whose upper half is `x`, rounded to nearest, ties to even. NaN stays NaN.
// Zero below 2⁻⁹⁴: a smaller number, times a float16, could give a subnormal sum, and AVX512-BF16
// makes these zero.
inline uint32_t bfloat16_bits(float x) {
  constexpr uint32_t kInfinite = 0x7F800000, kQuiet = 0x00400000, kLeast = (127u - 94u) << 23;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const uint32_t is_nan = -static_cast<uint32_t>(magnitude > kInfinite);
  const uint32_t is_kept = -static_cast<uint32_t>(magnitude >= kLeast);
  const uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return (((bits | kQuiet) & is_nan) | (rounded & ~is_nan)) & is_kept & 0xFFFF0000u;
}

constexpr int kRoundedStride = kInputsNear + kPanelColumns;  // keeps rows in different cache sets
static_assert(kInputsBlock * kFloatTilePanels * kPanelColumns <= kWidenedScratch &&
                  kRowsNear * kRoundedStride <= kFloatScratch - kWidenedScratch,
              "kFloatScratch has room for widened weights and rounded rows");

inline void put_rounded(float* to, float x) {
  const uint32_t bits = bfloat16_bits(x);
  std::memcpy(to, &bits, sizeof bits);
}

// A row of bfloat16 in the upper halves of floats, the odd input of each pair first. The last input
// may have no partner.
inline void round_swapped(const float* x, int inputs, float* rounded) {
  int k = 0;
  for (; k + 1 < inputs; k += 2) {
    put_rounded(rounded + k, x[k + 1]);
    put_rounded(rounded + k + 1, x[k]);
  }
  if (k < inputs) put_rounded(rounded + k, x[k]);
}

// Weights in the order of round_swapped.
struct Swapped {
  Stored<uint16_t> halves;
  int inputs;
  Floats operator()(int panel, int input) const {
    return halves(panel, (input ^ 1) < inputs ? input ^ 1 : input);
  }
};

// For instruction sets without products of bfloat16.
struct FloatPairs {
  using Weights = uint16_t;
  static void round(const float* x, int inputs, float* rounded) {
    round_swapped(x, inputs, rounded);
  }
  template <int kRows, int kPanels>
  static void tile(const FloatProduct& product, Stored<Weights> weights, bool first, int row,
                   int panel, Range inputs, Ahead ahead) {
    const Widening<Swapped> widening{{weights, inputs.size()}, product.widened};
    if (first) return float_tile<kRows, kPanels>(product, widening, row, panel, inputs, ahead);
    float_tile<kRows, kPanels>(product, widening.widened(), row, panel, inputs, ahead);
  }
};

template <class Form>
inline void gemm_bfloat16_as(const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                             Range rows, Range panels, float* scratch) {
  float* rounded = scratch + kWidenedScratch;
  for_near(rows, w.inputs, [&](Range some, Range inputs) {
    for (int row = some.begin; row < some.end; ++row) {
      Form::round(x + static_cast<int64_t>(row) * stride + inputs.begin, inputs.size(),
                  rounded + (row - some.begin) * kRoundedStride);
    }
    const bool few = rows.size() <= kFewRows;
    const FloatProduct product{rounded, kRoundedStride,         some, inputs.begin, w,
                               to,      few ? nullptr : scratch};
    if (few) {
      multiply_near<kFewRows, kFewRowsPanels, Form>(product, w.half_panels, some, panels, inputs);
    } else {
      multiply_near<kFloatTileRows, kFloatTilePanels, Form>(product, w.half_panels, some, panels,
                                                            inputs);
    }
  });
  activate(to, rows, panels);
}

inline void gemm_bfloat16(const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                          Range rows, Range panels, float* scratch) {
  gemm_bfloat16_as<FloatPairs>(x, stride, w, to, rows, panels, scratch);
}

}  // namespace
}  // namespace m3e
