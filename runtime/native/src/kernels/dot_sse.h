// SPDX-License-Identifier: Apache-2.0
// Eight-way dot products of 128 bits with pmaddubsw: see dot_avx2.h.
#pragma once

#include "vec_sse.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 2;
constexpr int kInt8TilePanels = 1;
constexpr int kStepInputs = 8;
constexpr float kOffset = 0;

struct Weights {
  Ints first, second;
};
struct Codes {
  __m128i first, second;
};

inline Ints load_ints(const int8_t* p) {
  return each_int(
      [=](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i)); });
}
inline Weights load_weights(const int8_t* p) { return {load_ints(p), load_ints(p + 64)}; }
inline Codes splat_codes(const uint8_t* p) {
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return {_mm_shuffle_epi32(eight, 0x00), _mm_shuffle_epi32(eight, 0x55)};
}
inline Ints no_sum() {
  return each_int([](int) { return _mm_setzero_si128(); });
}
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  return each_int([&](int i) {
    const __m128i fours = _mm_add_epi16(_mm_maddubs_epi16(codes.first, weights.first.part[i]),
                                        _mm_maddubs_epi16(codes.second, weights.second.part[i]));
    return _mm_add_epi32(sum.part[i], _mm_madd_epi16(fours, _mm_set1_epi16(1)));
  });
}

}  // namespace
}  // namespace m3e
