// Four-way dot products of 512 bits: vpdpbusd where the file is compiled for VNNI, else vpmaddubsw as in
// dot_avx2.h.
#pragma once

#include "vec_avx512.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 12;
constexpr int kInt8TilePanels = 2;
constexpr float kOffset = 0;

using Weights = __m512i;
using Codes = __m512i;

inline Weights load_weights(const int8_t* p) { return _mm512_loadu_si512(p); }
inline Codes splat_codes(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
inline Ints no_sum() { return _mm512_setzero_si512(); }
inline Ints dot(Ints sum, Codes codes, Weights weights) {
#ifdef __AVX512VNNI__
  return _mm512_dpbusd_epi32(sum, codes, weights);
#else
  const __m512i pairs = _mm512_maddubs_epi16(codes, weights);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
}

}  // namespace
}  // namespace m3e
