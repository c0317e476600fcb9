// SPDX-License-Identifier: Apache-2.0
// Four-way dot products on Arm: usdot (i8mm), sdot (dotprod), or widening multiplications.
// Without i8mm both operands must be signed, so 128 is subtracted from the codes and the row's
// minimum is raised to match.
#pragma once

#include "vec_neon.h"

namespace m3e {
namespace {

constexpr int kInt8TilePanels = 1;

#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kInt8TileRows = 5;
constexpr int kStepInputs = 4;
constexpr float kOffset = 0;
using Codes = uint8x16_t;
inline Codes splat_codes(const uint8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, 4);
  return vreinterpretq_u8_u32(vdupq_n_u32(four));
}
inline int32x4_t dot_part(int32x4_t sum, Codes codes, int8x16_t weights) {
  return vusdotq_s32(sum, codes, weights);
}
#else
constexpr int kStepInputs = 4;
constexpr float kOffset = 128;
using Codes = int8x16_t;
inline Codes splat_codes(const uint8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, 4);
  return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
}
#if defined(__ARM_FEATURE_DOTPROD)
constexpr int kInt8TileRows = 5;
inline int32x4_t dot_part(int32x4_t sum, Codes codes, int8x16_t weights) {
  return vdotq_s32(sum, codes, weights);
}
#else
constexpr int kInt8TileRows = 4;
inline int32x4_t dot_part(int32x4_t sum, Codes codes, int8x16_t weights) {
  const int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(weights));
  const int16x8_t high = vmull_s8(vget_high_s8(codes), vget_high_s8(weights));
  return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
#endif
#endif

struct Weights {
  int8x16_t part[4];
};
inline Weights load_weights(const int8_t* p) {
  return {{vld1q_s8(p), vld1q_s8(p + 16), vld1q_s8(p + 32), vld1q_s8(p + 48)}};
}
inline Ints no_sum() {
  const int32x4_t none = vdupq_n_s32(0);
  return {{none, none, none, none}};
}
inline Ints dot(Ints sum, Codes codes, Weights weights) {
  return {{dot_part(sum.part[0], codes, weights.part[0]),
           dot_part(sum.part[1], codes, weights.part[1]),
           dot_part(sum.part[2], codes, weights.part[2]),
           dot_part(sum.part[3], codes, weights.part[3])}};
}

}  // namespace
}  // namespace m3e
