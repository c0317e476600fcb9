// Four-way dot products with vpmaddubsw. It adds pairs of products in 16 bits with saturation; packed
// matrices are pair-safe (255 · |a + b| ≤ 32767, see the exporter), so the sums are exact.
#pragma once

#include "vec_avx2.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 5;
constexpr int kInt8TilePanels = 1;
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

inline __m256i dot_half(__m256i sum, Codes codes, __m256i weights) {
  const __m256i pairs = _mm256_maddubs_epi16(codes, weights);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  return {dot_half(sum.low, codes, weights.low), dot_half(sum.high, codes, weights.high)};
}

}  // namespace
}  // namespace m3e
