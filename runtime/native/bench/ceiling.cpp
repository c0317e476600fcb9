// SPDX-License-Identifier: Apache-2.0
// Compiled once for each instruction set: M3E_SET is its name, M3E_DOT its header of dot products.
#include "ceiling.h"

#include <type_traits>

#include M3E_DOT
#include "kernels/tiles.h"

#define M3E_TEXT_OF(x) #x
#define M3E_TEXT(x) M3E_TEXT_OF(x)

namespace m3e {
namespace {

// Makes the compiler assume that a value has changed, so that it does not move work out of a loop.
// Vectors stay in registers.
template <class Value>
inline void forget(Value& value) {
#if defined(__x86_64__)
  if constexpr (!std::is_class_v<Value> && !std::is_array_v<Value> && sizeof(Value) >= 16) {
    asm volatile("" : "+v"(value));
    return;
  }
#endif
  asm volatile("" : "+m"(value));
}

template <class Codes>
inline void forget_codes(Codes& codes) {
  if constexpr (kStepInputs == 8) {
    forget(codes.first);
    forget(codes.second);
  } else {
    forget(codes);
  }
}

// Makes the compiler assume that a value is used. By value, so that it stays in registers.
template <class Value>
inline void keep(Value value) {
  forget(value);
}

int64_t float_ceiling(int64_t rounds) {
  constexpr int kSums = kFloatTileRows * kFloatTilePanels;
  Floats sums[kSums];
  unroll<kSums>([&](auto i) M3E_INLINE { sums[i] = zero(); });
  Floats value = zero();
  for (int64_t round = 0; round < rounds; ++round) {
    forget(value);
    unroll<kSums>([&](auto i) M3E_INLINE {
      sums[i] = fma(value, value, sums[i]);
      settle(sums[i]);
    });
  }
  unroll<kSums>([&](auto i) M3E_INLINE { keep(sums[i]); });
  return rounds * kSums * kPanelColumns;
}

#if defined(__AMX_INT8__)
int64_t int8_ceiling(int64_t rounds) {
  static const struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(6);
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 6);
    _tile_dpbusd(2, 4, 6);
    _tile_dpbusd(3, 4, 6);
  }
  _tile_release();
  return rounds * 4 * 16 * 16 * 64;
}
#elif defined(__ARM_FEATURE_MATMUL_INT8)
int64_t int8_ceiling(int64_t rounds) {
  constexpr int kSums = 16;
  int32x4_t sums[kSums];
  unroll<kSums>([&](auto i) M3E_INLINE { sums[i] = vdupq_n_s32(0); });
  uint8x16_t codes = vdupq_n_u8(0);
  for (int64_t round = 0; round < rounds; ++round) {
    forget(codes);
    unroll<kSums>([&](auto i) M3E_INLINE {
      sums[i] = vusmmlaq_s32(sums[i], codes, vreinterpretq_s8_u8(codes));
    });
  }
  unroll<kSums>([&](auto i) M3E_INLINE { keep(sums[i]); });
  return rounds * kSums * 32;
}
#else
int64_t int8_ceiling(int64_t rounds) {
  alignas(64) uint8_t bytes[256] = {};
  forget(bytes);
  constexpr int kSums = kInt8TileRows * kInt8TilePanels;
  Ints sums[kSums];
  unroll<kSums>([&](auto i) M3E_INLINE { sums[i] = no_sum(); });
  const Weights weights = load_weights(reinterpret_cast<const int8_t*>(bytes));
  Codes codes = splat_codes(bytes + 128);
  for (int64_t round = 0; round < rounds; ++round) {
    unroll<kSums>([&](auto i) M3E_INLINE {
      forget_codes(codes);
      sums[i] = dot(sums[i], codes, weights);
      settle(sums[i]);
    });
  }
  unroll<kSums>([&](auto i) M3E_INLINE { keep(sums[i]); });
  return rounds * kSums * kPanelColumns * kStepInputs;
}
#endif

const bool registered = [] {
  ceilings().push_back({M3E_TEXT(M3E_SET), int8_ceiling, float_ceiling});
  return true;
}();

}  // namespace
}  // namespace m3e
