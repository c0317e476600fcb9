// SPDX-License-Identifier: Apache-2.0
// Four-way dot products with the 512-bit vpdpbusd.
#pragma once

#include "vec_avx512.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 12;
constexpr int kInt8TilePanels = 2;
constexpr int kStepInputs = 4;
constexpr float kOffset = 0;

using Weights = __m512i;
using Codes = __m512i;

inline Weights load_weights(const int8_t* p) { return _mm512_loadu_si512(p); }
inline Codes splat_codes(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
inline Ints no_sum() { return _mm512_setzero_si512(); }
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  return _mm512_dpbusd_epi32(sum, codes, weights);
}

}  // namespace
}  // namespace m3e
