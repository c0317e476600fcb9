// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes as one 512-bit register.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace m3e {
namespace {

using Floats = __m512;
using Ints = __m512i;

constexpr int kFloatTileRows = 6;
constexpr int kFloatTilePanels = 4;
// Up to this many rows use a tile with fewer panels: fewer streams of weights to wait for.
constexpr int kFewRows = 12;
constexpr int kFewRowsPanels = 2;
constexpr int kRowsSideBySide = 4;  // see rows.h

inline __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }

// See vec_avx2.h.
inline void settle(Floats& x) { asm volatile("" : "+v"(x)); }
inline void settle(Ints& x) { asm volatile("" : "+v"(x)); }

inline Floats zero() { return _mm512_setzero_ps(); }
inline Floats splat(float x) { return _mm512_set1_ps(x); }
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline Floats load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
inline void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
inline void store_first(float* p, Floats x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }
inline Floats keep_first(Floats x, int n) { return _mm512_maskz_mov_ps(first(n), x); }
inline Floats load_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Floats load_codes(const int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats magnitude(Floats a) { return _mm512_abs_ps(a); }
// x where sign is negative, y elsewhere.
inline Floats where_negative(Floats sign, Floats x, Floats y) {
  return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(sign)), y, x);
}

inline Ints round_to_int(Floats x) { return _mm512_cvtps_epi32(x); }
inline Floats to_float(Ints x) { return _mm512_cvtepi32_ps(x); }
// 2ⁿ for n in [-126, 127].
inline Floats power_of_two(Ints n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
inline void store_bytes(uint8_t* p, Ints x) {
  const Ints positive = _mm512_max_epi32(x, _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(positive));
}

inline __m256 halves_sum(Floats x) {
  return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}
inline float sum(Floats x) {
  const __m256 a = halves_sum(x);
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
inline float largest(Floats x) { return _mm512_reduce_max_ps(x); }
inline float smallest(Floats x) { return _mm512_reduce_min_ps(x); }

}  // namespace
}  // namespace m3e
