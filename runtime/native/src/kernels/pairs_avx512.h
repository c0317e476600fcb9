// SPDX-License-Identifier: Apache-2.0
// 16-bit codes in pairs, sixteen pairs in 512 bits: see attention_codes.h. Products are vpdpwssd,
// or vpmaddwd and an addition. Both are exact.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

constexpr int kPairTileRows = 6;
constexpr int kPairTilePanels = 4;

inline Ints load_pairs(const int16_t* p) { return _mm512_loadu_si512(p); }
inline void store_pairs(int16_t* p, Ints x) { _mm512_storeu_si512(p, x); }
inline Ints splat_pair(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm512_set1_epi32(pair);
}
inline Ints no_pairs() { return _mm512_setzero_si512(); }
inline Ints dot_pairs(Ints sum, Ints a, Ints b) {
#if defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(sum, a, b);
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#endif
}

inline Ints bits_of(Floats x) { return _mm512_castps_si512(x); }
// The lowest nine bits become sign and exponent.
inline Floats from_exponent(Floats x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits_of(x), 23));
}
// The lower halves of both.
inline Ints pair_up(Ints first, Ints second) {
  constexpr __mmask32 kSeconds = 0xAAAAAAAA;
  return _mm512_mask_blend_epi16(kSeconds, first, _mm512_slli_epi32(second, 16));
}

inline void transpose(Ints (&x)[16]) {
  constexpr int kEven = 0x88, kOdd = 0xDD;
  Ints y[16];
  unroll<4>([&](auto i) M3E_INLINE {
    constexpr int kRow = 4 * i.value;
    const Ints a = _mm512_unpacklo_epi32(x[kRow], x[kRow + 1]);
    const Ints b = _mm512_unpackhi_epi32(x[kRow], x[kRow + 1]);
    const Ints c = _mm512_unpacklo_epi32(x[kRow + 2], x[kRow + 3]);
    const Ints d = _mm512_unpackhi_epi32(x[kRow + 2], x[kRow + 3]);
    y[kRow] = _mm512_unpacklo_epi64(a, c);
    y[kRow + 1] = _mm512_unpackhi_epi64(a, c);
    y[kRow + 2] = _mm512_unpacklo_epi64(b, d);
    y[kRow + 3] = _mm512_unpackhi_epi64(b, d);
  });
  // Each quarter of y[4 i + c] has rows 4 i … 4 i + 3 of column c of a quarter.
  unroll<4>([&](auto c) M3E_INLINE {
    const Ints a = _mm512_shuffle_i32x4(y[c], y[4 + c], kEven);
    const Ints b = _mm512_shuffle_i32x4(y[8 + c], y[12 + c], kEven);
    const Ints d = _mm512_shuffle_i32x4(y[c], y[4 + c], kOdd);
    const Ints e = _mm512_shuffle_i32x4(y[8 + c], y[12 + c], kOdd);
    x[c] = _mm512_shuffle_i32x4(a, b, kEven);
    x[4 + c] = _mm512_shuffle_i32x4(d, e, kEven);
    x[8 + c] = _mm512_shuffle_i32x4(a, b, kOdd);
    x[12 + c] = _mm512_shuffle_i32x4(d, e, kOdd);
  });
}

}  // namespace
}  // namespace m3e
