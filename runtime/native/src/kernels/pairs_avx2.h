// SPDX-License-Identifier: Apache-2.0
// 16-bit codes in pairs, sixteen pairs in twice 256 bits: see attention_codes.h. Products are
// vpdpwssd, or vpmaddwd and an addition. Both are exact.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

constexpr int kPairTileRows = 6;
constexpr int kPairTilePanels = 1;

inline Ints load_pairs(const int16_t* p) {
  const __m256i* vectors = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
}
inline void store_pairs(int16_t* p, Ints x) {
  __m256i* vectors = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(vectors, x.low);
  _mm256_storeu_si256(vectors + 1, x.high);
}
inline Ints splat_pair(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  const __m256i all = _mm256_set1_epi32(pair);
  return {all, all};
}
inline Ints no_pairs() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline __m256i dot_pairs_half(__m256i sum, __m256i a, __m256i b) {
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sum, a, b);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}
inline Ints dot_pairs(Ints sum, Ints a, Ints b) {
  return {dot_pairs_half(sum.low, a.low, b.low), dot_pairs_half(sum.high, a.high, b.high)};
}

inline Ints bits_of(Floats x) { return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)}; }
// The lowest nine bits become sign and exponent.
inline Floats from_exponent(Floats x) {
  const Ints bits = bits_of(x);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(bits.low, 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(bits.high, 23))};
}
// The lower halves of both.
inline Ints pair_up(Ints first, Ints second) {
  constexpr int kSeconds = 0xAA;
  return {_mm256_blend_epi16(first.low, _mm256_slli_epi32(second.low, 16), kSeconds),
          _mm256_blend_epi16(first.high, _mm256_slli_epi32(second.high, 16), kSeconds)};
}

inline void transpose(__m256i (&x)[8]) {
  constexpr int kLow = 0x20, kHigh = 0x31;
  __m256i y[8];
  unroll<2>([&](auto i) M3E_INLINE {
    constexpr int kRow = 4 * i.value;
    const __m256i a = _mm256_unpacklo_epi32(x[kRow], x[kRow + 1]);
    const __m256i b = _mm256_unpackhi_epi32(x[kRow], x[kRow + 1]);
    const __m256i c = _mm256_unpacklo_epi32(x[kRow + 2], x[kRow + 3]);
    const __m256i d = _mm256_unpackhi_epi32(x[kRow + 2], x[kRow + 3]);
    y[kRow] = _mm256_unpacklo_epi64(a, c);
    y[kRow + 1] = _mm256_unpackhi_epi64(a, c);
    y[kRow + 2] = _mm256_unpacklo_epi64(b, d);
    y[kRow + 3] = _mm256_unpackhi_epi64(b, d);
  });
  unroll<4>([&](auto c) M3E_INLINE {
    x[c] = _mm256_permute2x128_si256(y[c], y[4 + c], kLow);
    x[4 + c] = _mm256_permute2x128_si256(y[c], y[4 + c], kHigh);
  });
}

inline void transpose(Ints (&x)[16]) {
  __m256i block[4][8];  // [half of the columns + 2 · half of the rows]
  unroll<8>([&](auto i) M3E_INLINE {
    block[0][i] = x[i].low;
    block[1][i] = x[i].high;
    block[2][i] = x[8 + i].low;
    block[3][i] = x[8 + i].high;
  });
  for (auto& each : block) transpose(each);
  unroll<8>([&](auto i) M3E_INLINE {
    x[i] = {block[0][i], block[2][i]};
    x[8 + i] = {block[1][i], block[3][i]};
  });
}

}  // namespace
}  // namespace m3e
