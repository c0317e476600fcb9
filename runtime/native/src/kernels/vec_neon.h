// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes as four 128-bit registers.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace m3e {
namespace {

struct Floats {
  float32x4_t part[4];
};
struct Ints {
  int32x4_t part[4];
};

constexpr int kFloatTileRows = 5;
constexpr int kFloatTilePanels = 1;
constexpr int kFewRows = kFloatTileRows;
constexpr int kFewRowsPanels = kFloatTilePanels;
constexpr int kRowsSideBySide = 1;  // see rows.h

template <class Make>
inline Floats each(Make make) {
  return {{make(0), make(1), make(2), make(3)}};
}

inline Floats splat(float x) {
  return each([=](int) { return vdupq_n_f32(x); });
}
// Not needed with 32 registers. See vec_avx2.h.
inline void settle(Floats&) {}
inline void settle(Ints&) {}

inline Floats zero() { return splat(0); }
inline Floats load(const float* p) {
  return each([=](int i) { return vld1q_f32(p + 4 * i); });
}
inline void store(float* p, Floats x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.part[i]);
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
  float lanes[16];
  store(lanes, x);
  return load_first(lanes, n);
}
inline Floats load_half(const uint16_t* p) {
  return each([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
inline Floats load_codes(const int8_t* p) {
  const int8x16_t codes = vld1q_s8(p);
  const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_s8(vget_high_s8(codes));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
           vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}

inline Floats add(Floats a, Floats b) {
  return each([&](int i) { return vaddq_f32(a.part[i], b.part[i]); });
}
inline Floats sub(Floats a, Floats b) {
  return each([&](int i) { return vsubq_f32(a.part[i], b.part[i]); });
}
inline Floats mul(Floats a, Floats b) {
  return each([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
}
inline Floats div(Floats a, Floats b) {
  return each([&](int i) { return vdivq_f32(a.part[i], b.part[i]); });
}
inline Floats fma(Floats a, Floats b, Floats c) {
  return each([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
inline Floats smaller(Floats a, Floats b) {
  return each([&](int i) { return vminq_f32(a.part[i], b.part[i]); });
}
inline Floats larger(Floats a, Floats b) {
  return each([&](int i) { return vmaxq_f32(a.part[i], b.part[i]); });
}
inline Floats magnitude(Floats a) {
  return each([&](int i) { return vabsq_f32(a.part[i]); });
}
// x where sign is negative, y elsewhere.
inline Floats where_negative(Floats sign, Floats x, Floats y) {
  return each([&](int i) {
    const uint32x4_t negative =
        vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(sign.part[i]), 31));
    return vbslq_f32(negative, x.part[i], y.part[i]);
  });
}

inline Ints round_to_int(Floats x) {
  return {{vcvtnq_s32_f32(x.part[0]), vcvtnq_s32_f32(x.part[1]), vcvtnq_s32_f32(x.part[2]),
           vcvtnq_s32_f32(x.part[3])}};
}
inline Floats to_float(Ints x) {
  return each([&](int i) { return vcvtq_f32_s32(x.part[i]); });
}
// 2ⁿ for n in [-126, 127].
inline Floats power_of_two(Ints n) {
  return each([&](int i) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n.part[i], vdupq_n_s32(127)), 23));
  });
}
inline void store_bytes(uint8_t* p, Ints x) {
  const uint16x8_t low = vcombine_u16(vqmovun_s32(x.part[0]), vqmovun_s32(x.part[1]));
  const uint16x8_t high = vcombine_u16(vqmovun_s32(x.part[2]), vqmovun_s32(x.part[3]));
  vst1q_u8(p, vcombine_u8(vqmovn_u16(low), vqmovn_u16(high)));
}

inline float sum(Floats x) {
  const float32x4_t b = vaddq_f32(vaddq_f32(x.part[0], x.part[2]), vaddq_f32(x.part[1], x.part[3]));
  const float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
  return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}
inline float largest(Floats x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.part[0], x.part[1]), vmaxq_f32(x.part[2], x.part[3])));
}
inline float smallest(Floats x) {
  return vminvq_f32(vminq_f32(vminq_f32(x.part[0], x.part[1]), vminq_f32(x.part[2], x.part[3])));
}

}  // namespace
}  // namespace m3e
