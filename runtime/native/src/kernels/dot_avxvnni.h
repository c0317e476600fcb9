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

// For 16-bit codes in pairs: see attention_int16.h.
inline Ints load_pairs(const int16_t* p) {
  const __m256i* vectors = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
}
inline Ints dot_pairs(Ints sum, Codes pair, Ints pairs) {
  return {_mm256_dpwssd_avx_epi32(sum.low, pair, pairs.low),
          _mm256_dpwssd_avx_epi32(sum.high, pair, pairs.high)};
}
inline void store_shorts(int16_t* p, Ints x) {
  const __m256i shorts = _mm256_packs_epi32(x.low, x.high);  // 0-3 8-11 4-7 12-15
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(shorts, 0xD8));
}
inline void store_pairs(int16_t* p, Ints first, Ints second) {
  constexpr int kSeconds = 0xAA;
  __m256i* to = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(to,
                      _mm256_blend_epi16(first.low, _mm256_slli_epi32(second.low, 16), kSeconds));
  _mm256_storeu_si256(to + 1,
                      _mm256_blend_epi16(first.high, _mm256_slli_epi32(second.high, 16), kSeconds));
}

}  // namespace
}  // namespace m3e
