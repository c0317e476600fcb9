// SPDX-License-Identifier: Apache-2.0
// Four-way dot products with the 256-bit vpdpbusd of AVX-VNNI.
#pragma once

#include "vec_avx2.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 6;
constexpr int kInt8TilePanels = 1;
constexpr int kStepInputs = 4;
constexpr float kOffset = 0;

using Weights = Ints;
using Codes = __m256i;

inline Weights load_weights(const int8_t* p) {
  const __m256i* vectors = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
}
inline Codes splat_codes(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}
inline Ints no_sum() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  return {_mm256_dpbusd_avx_epi32(sum.low, codes, weights.low),
          _mm256_dpbusd_avx_epi32(sum.high, codes, weights.high)};
}

}  // namespace
}  // namespace m3e
