// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes as four 128-bit registers of SSE4.1. There is no fused multiply-add, so results are
// those of vec_portable.h.
#pragma once

#include <smmintrin.h>

#include <cstdint>
#include <cstring>

namespace m3e {
namespace {

struct Floats {
  __m128 part[4];
};
struct Ints {
  __m128i part[4];
};

constexpr int kRowsSideBySide = 1;  // see rows.h
constexpr int kFloatTileRows = 3;
constexpr int kFloatTilePanels = 1;
constexpr int kFewRows = kFloatTileRows;
constexpr int kFewRowsPanels = kFloatTilePanels;

template <class Make>
inline Floats each(Make make) {
  return {{make(0), make(1), make(2), make(3)}};
}
template <class Make>
inline Ints each_int(Make make) {
  return {{make(0), make(1), make(2), make(3)}};
}

// See vec_avx2.h.
inline void settle(Floats& x) {
  asm volatile("" : "+x"(x.part[0]), "+x"(x.part[1]), "+x"(x.part[2]), "+x"(x.part[3]));
}
inline void settle(Ints& x) {
  asm volatile("" : "+x"(x.part[0]), "+x"(x.part[1]), "+x"(x.part[2]), "+x"(x.part[3]));
}

inline Floats splat(float x) {
  return each([=](int) { return _mm_set1_ps(x); });
}
inline Floats zero() {
  return each([](int) { return _mm_setzero_ps(); });
}
inline Floats load(const float* p) {
  return each([=](int i) { return _mm_loadu_ps(p + 4 * i); });
}
inline void store(float* p, Floats x) {
  for (int i = 0; i < 4; ++i) _mm_storeu_ps(p + 4 * i, x.part[i]);
}
inline Floats load_first(const float* p, int n) {
  float lanes[16] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(float));
  return load(lanes);
}
inline void store_first(float* p, Floats x, int n) {
  float lanes[16];
  store(lanes, x);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
}
inline Floats keep_first(Floats x, int n) {
  const __m128i lane = _mm_setr_epi32(0, 1, 2, 3);
  return each([&](int i) {
    const __m128i kept = _mm_cmpgt_epi32(_mm_set1_epi32(n - 4 * i), lane);
    return _mm_and_ps(x.part[i], _mm_castsi128_ps(kept));
  });
}

// Four halves, each in the low part of an int.
inline __m128 halves_to_floats(__m128i halves) {
  const __m128i sign = _mm_slli_epi32(_mm_and_si128(halves, _mm_set1_epi32(0x8000)), 16);
  const __m128i bits = _mm_slli_epi32(_mm_and_si128(halves, _mm_set1_epi32(0x7FFF)), 13);
  // A float's exponent is 112 larger than a half's, and 224 for infinities and NaN.
  constexpr int kExponent = 1 << 23;
  const __m128i offset = _mm_set1_epi32(112 * kExponent);
  const __m128i no_number = _mm_cmpgt_epi32(bits, _mm_set1_epi32(31 * kExponent - 1));
  const __m128i normal =
      _mm_add_epi32(_mm_add_epi32(bits, offset), _mm_and_si128(no_number, offset));
  // Below 2⁻¹⁴ a half has no leading one: adds it, and subtracts it as a float.
  const __m128i one = _mm_set1_epi32(113 * kExponent);
  const __m128 small =
      _mm_sub_ps(_mm_castsi128_ps(_mm_add_epi32(bits, one)), _mm_castsi128_ps(one));
  const __m128i is_small = _mm_cmpgt_epi32(_mm_set1_epi32(kExponent), bits);
  const __m128 magnitude =
      _mm_blendv_ps(_mm_castsi128_ps(normal), small, _mm_castsi128_ps(is_small));
  return _mm_or_ps(magnitude, _mm_castsi128_ps(sign));
}
inline Floats load_half(const uint16_t* p) {
  return each([=](int i) {
    const __m128i* four = reinterpret_cast<const __m128i*>(p + 4 * i);
    return halves_to_floats(_mm_cvtepu16_epi32(_mm_loadl_epi64(four)));
  });
}
inline Floats load_codes(const int8_t* p) {
  return each([=](int i) {
    int32_t four;
    std::memcpy(&four, p + 4 * i, 4);
    return _mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(four)));
  });
}

inline Floats add(Floats a, Floats b) {
  return each([&](int i) { return _mm_add_ps(a.part[i], b.part[i]); });
}
inline Floats sub(Floats a, Floats b) {
  return each([&](int i) { return _mm_sub_ps(a.part[i], b.part[i]); });
}
inline Floats mul(Floats a, Floats b) {
  return each([&](int i) { return _mm_mul_ps(a.part[i], b.part[i]); });
}
inline Floats div(Floats a, Floats b) {
  return each([&](int i) { return _mm_div_ps(a.part[i], b.part[i]); });
}
inline Floats fma(Floats a, Floats b, Floats c) { return add(mul(a, b), c); }
inline Floats smaller(Floats a, Floats b) {
  return each([&](int i) { return _mm_min_ps(a.part[i], b.part[i]); });
}
inline Floats larger(Floats a, Floats b) {
  return each([&](int i) { return _mm_max_ps(a.part[i], b.part[i]); });
}
inline Floats magnitude(Floats a) {
  const __m128 sign = _mm_set1_ps(-0.0f);
  return each([&](int i) { return _mm_andnot_ps(sign, a.part[i]); });
}
// x where sign is negative, y elsewhere.
inline Floats where_negative(Floats sign, Floats x, Floats y) {
  return each([&](int i) { return _mm_blendv_ps(y.part[i], x.part[i], sign.part[i]); });
}

inline Ints round_to_int(Floats x) {
  return each_int([&](int i) { return _mm_cvtps_epi32(x.part[i]); });
}
inline Floats to_float(Ints x) {
  return each([&](int i) { return _mm_cvtepi32_ps(x.part[i]); });
}
// 2ⁿ for n in [-126, 127].
inline Floats power_of_two(Ints n) {
  const __m128i bias = _mm_set1_epi32(127);
  return each(
      [&](int i) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(n.part[i], bias), 23)); });
}
inline void store_bytes(uint8_t* p, Ints x) {
  const __m128i low = _mm_packs_epi32(x.part[0], x.part[1]);
  const __m128i high = _mm_packs_epi32(x.part[2], x.part[3]);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(low, high));
}

inline float sum(Floats x) {
  const __m128 b = _mm_add_ps(_mm_add_ps(x.part[0], x.part[2]), _mm_add_ps(x.part[1], x.part[3]));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
inline float largest(Floats x) {
  const __m128 b = _mm_max_ps(_mm_max_ps(x.part[0], x.part[2]), _mm_max_ps(x.part[1], x.part[3]));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
inline float smallest(Floats x) {
  const __m128 b = _mm_min_ps(_mm_min_ps(x.part[0], x.part[2]), _mm_min_ps(x.part[1], x.part[3]));
  const __m128 c = _mm_min_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_min_ss(c, _mm_movehdup_ps(c)));
}

}  // namespace
}  // namespace m3e
