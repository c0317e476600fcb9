// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes in plain C++: correct everywhere, and simple enough for a compiler to vectorize.
#pragma once

#include <cstdint>
#include <cstring>

namespace m3e {
namespace {

struct Floats {
  float lane[16];
};
struct Ints {
  int32_t lane[16];
};

constexpr int kFloatTileRows = 4;
constexpr int kFloatTilePanels = 1;
constexpr int kFewRows = kFloatTileRows;
constexpr int kFewRowsPanels = kFloatTilePanels;
constexpr int kRowsSideBySide = 1;  // see rows.h

template <class Make>
inline Floats each(Make make) {
  Floats out;
  for (int i = 0; i < 16; ++i) out.lane[i] = make(i);
  return out;
}

inline Floats splat(float x) {
  return each([=](int) { return x; });
}
// See vec_avx2.h.
inline void settle(Floats&) {}
inline void settle(Ints&) {}

inline Floats zero() { return splat(0); }
inline Floats load_first(const float* p, int n) {
  Floats out = zero();
  std::memcpy(out.lane, p, static_cast<size_t>(n) * sizeof(float));
  return out;
}
inline Floats load(const float* p) { return load_first(p, 16); }
inline void store_first(float* p, const Floats& x, int n) {
  std::memcpy(p, x.lane, static_cast<size_t>(n) * sizeof(float));
}
inline void store(float* p, const Floats& x) { store_first(p, x, 16); }
inline Floats keep_first(const Floats& x, int n) { return load_first(x.lane, n); }

// Without branches, so that a compiler vectorizes it. Computes with no subnormal float, which a
// caller may have told the processor to flush.
inline float half_to_float(uint16_t half) {
  constexpr uint32_t kRebias = 112u << 23, kSmallest = 0x400, kInfinite = 0x7C00;
  const uint32_t magnitude = half & 0x7FFFu;
  const float small = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
  uint32_t small_bits;
  std::memcpy(&small_bits, &small, sizeof small);
  const uint32_t is_small = -static_cast<uint32_t>(magnitude < kSmallest);
  const uint32_t is_infinite = -static_cast<uint32_t>(magnitude >= kInfinite);
  const uint32_t wide = (magnitude << 13) + kRebias + (kRebias & is_infinite);
  const uint32_t bits =
      (static_cast<uint32_t>(half & 0x8000u) << 16) | (small_bits & is_small) | (wide & ~is_small);
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
inline Floats load_half(const uint16_t* p) {
  return each([=](int i) { return half_to_float(p[i]); });
}
inline Floats load_codes(const int8_t* p) {
  return each([=](int i) { return static_cast<float>(p[i]); });
}

inline Floats add(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline Floats sub(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline Floats mul(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline Floats div(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
inline Floats smaller(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Floats larger(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Floats magnitude(const Floats& a) {
  return each([&](int i) { return __builtin_fabsf(a.lane[i]); });
}
// x where sign is negative, y elsewhere.
inline Floats where_negative(const Floats& sign, const Floats& x, const Floats& y) {
  return each([&](int i) { return __builtin_signbit(sign.lane[i]) ? x.lane[i] : y.lane[i]; });
}

// Nearest, ties to even, as the vector instructions do; what no int holds (and NaN) becomes the
// smallest.
inline int32_t nearest(float x) {
  if (!(x >= -2147483648.0f && x < 2147483648.0f)) return INT32_MIN;
  constexpr float kShift = 12582912.0f;  // 1.5 · 2²³: adding it drops the fraction by rounding
  if (x > 4194304.0f || x < -4194304.0f) return static_cast<int32_t>(x);
  const volatile float shifted = x + kShift;
  return static_cast<int32_t>(shifted - kShift);
}
inline Ints round_to_int(const Floats& x) {
  Ints out;
  for (int i = 0; i < 16; ++i) out.lane[i] = nearest(x.lane[i]);
  return out;
}
inline Floats to_float(const Ints& x) {
  return each([&](int i) { return static_cast<float>(x.lane[i]); });
}
// 2ⁿ for n in [-126, 127].
inline Floats power_of_two(const Ints& n) {
  return each([&](int i) {
    const uint32_t bits = (static_cast<uint32_t>(n.lane[i]) + 127u) << 23;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
  });
}
inline void store_bytes(uint8_t* p, const Ints& x) {
  for (int i = 0; i < 16; ++i) {
    const int32_t value = x.lane[i];
    p[i] = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

// The same tree as that of the vector instruction sets.
template <class Combine>
inline float combined(const Floats& x, Combine combine) {
  float part[16];
  std::memcpy(part, x.lane, sizeof part);
  for (int width = 8; width; width /= 2) {
    for (int i = 0; i < width; ++i) part[i] = combine(part[i], part[i + width]);
  }
  return part[0];
}
inline float sum(const Floats& x) {
  return combined(x, [](float a, float b) { return a + b; });
}
inline float largest(const Floats& x) {
  return combined(x, [](float a, float b) { return a > b ? a : b; });
}
inline float smallest(const Floats& x) {
  return combined(x, [](float a, float b) { return a < b ? a : b; });
}

}  // namespace
}  // namespace m3e
