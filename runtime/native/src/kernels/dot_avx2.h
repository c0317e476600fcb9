// SPDX-License-Identifier: Apache-2.0
// Eight-way dot products with vpmaddubsw. Adds four products in 16 bits: those of inputs k, k + 1,
// k + 4 and k + 5. That halves the conversions to 32 bits, the slow part without VNNI. The sums are
// exact: the exporter limits the weights (255 · Σ ≤ 32767, see its precision/int8.py).
#pragma once

#include "vec_avx2.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 4;
constexpr int kInt8TilePanels = 1;
constexpr int kStepInputs = 8;
constexpr float kOffset = 0;

struct Weights {
  Ints first, second;
};
struct Codes {
  __m256i first, second;
};

inline Ints load_ints(const int8_t* p) {
  const __m256i* vectors = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
}
inline Weights load_weights(const int8_t* p) { return {load_ints(p), load_ints(p + 64)}; }
inline Codes splat_codes(const uint8_t* p) {
  int32_t fours[2];
  __builtin_memcpy(fours, p, 8);
  return {_mm256_set1_epi32(fours[0]), _mm256_set1_epi32(fours[1])};
}
inline Ints no_sum() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

inline __m256i dot_half(__m256i sum, Codes codes, __m256i first, __m256i second) {
  const __m256i fours = _mm256_add_epi16(_mm256_maddubs_epi16(codes.first, first),
                                         _mm256_maddubs_epi16(codes.second, second));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(fours, _mm256_set1_epi16(1)));
}
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  return {dot_half(sum.low, codes, weights.first.low, weights.second.low),
          dot_half(sum.high, codes, weights.first.high, weights.second.high)};
}

}  // namespace
}  // namespace m3e
