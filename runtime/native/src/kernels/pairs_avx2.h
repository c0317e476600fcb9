// SPDX-License-Identifier: Apache-2.0
// Products of 16-bit codes in pairs, 256 bits at a time: vpdpwssd, or vpmaddwd and an addition. Both
// are exact.
#pragma once

#include "vec_avx2.h"

namespace m3e {
namespace {

inline Ints load_pairs(const int16_t* p) {
  const __m256i* vectors = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
}
inline __m256i splat_pair(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}
inline __m256i dot_pairs_half(__m256i sum, __m256i pair, __m256i pairs) {
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sum, pair, pairs);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pair, pairs));
#endif
}
inline Ints dot_pairs(Ints sum, __m256i pair, Ints pairs) {
  return {dot_pairs_half(sum.low, pair, pairs.low), dot_pairs_half(sum.high, pair, pairs.high)};
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
