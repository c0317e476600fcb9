// SPDX-License-Identifier: Apache-2.0
// Products of 16-bit codes in pairs, 512 bits at a time: vpdpwssd, or vpmaddwd and an addition. Both
// are exact.
#pragma once

#include "vec_avx512.h"

namespace m3e {
namespace {

inline Ints load_pairs(const int16_t* p) { return _mm512_loadu_si512(p); }
inline Ints splat_pair(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm512_set1_epi32(pair);
}
inline Ints dot_pairs(Ints sum, Ints pair, Ints pairs) {
#if defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(sum, pair, pairs);
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pair, pairs));
#endif
}
inline void store_shorts(int16_t* p, Ints x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
}
inline void store_pairs(int16_t* p, Ints first, Ints second) {
  constexpr __mmask32 kSeconds = 0xAAAAAAAA;
  _mm512_storeu_si512(p, _mm512_mask_blend_epi16(kSeconds, first, _mm512_slli_epi32(second, 16)));
}

}  // namespace
}  // namespace m3e
