// SPDX-License-Identifier: Apache-2.0
// Eight-way dot products of 512 bits with vpmaddubsw: see dot_avx2.h.
#pragma once

#include "vec_avx512.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 10;
constexpr int kInt8TilePanels = 2;
constexpr int kStepInputs = 8;
constexpr float kOffset = 0;

struct Weights {
  __m512i first, second;
};
struct Codes {
  __m512i first, second;
};

inline Weights load_weights(const int8_t* p) {
  return {_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64)};
}
inline Codes splat_codes(const uint8_t* p) {
  int32_t fours[2];
  __builtin_memcpy(fours, p, 8);
  return {_mm512_set1_epi32(fours[0]), _mm512_set1_epi32(fours[1])};
}
inline Ints no_sum() { return _mm512_setzero_si512(); }
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  const __m512i fours = _mm512_add_epi16(_mm512_maddubs_epi16(codes.first, weights.first),
                                         _mm512_maddubs_epi16(codes.second, weights.second));
  return _mm512_add_epi32(sum, _mm512_madd_epi16(fours, _mm512_set1_epi16(1)));
}

}  // namespace
}  // namespace m3e
