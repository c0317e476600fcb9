// SPDX-License-Identifier: Apache-2.0
// IEEE 754 half precision, without instructions for it.
#pragma once

#include <cstdint>
#include <cstring>

namespace m3e {

// The nearest half, ties to even; what is too large becomes infinity.
inline uint16_t half_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | (bits >> 13 & 0x3FF));  // NaN
  if (bits >= 0x47800000) return sign | 0x7C00;  // 2^16
  uint32_t kept = (bits >> 13) - (112 << 10), rest = bits & 0x1FFF, half_way = 0x1000;
  if (bits < 0x38800000) {  // below 2^-14: no implicit bit, fewer bits the smaller it is
    const uint32_t shift = 126 - (bits >> 23);
    if (shift > 24) return sign;
    const uint32_t digits = (bits & 0x7FFFFF) | 0x800000;
    kept = digits >> shift, rest = digits & ((1u << shift) - 1), half_way = 1u << (shift - 1);
  }
  const bool up = rest > half_way || (rest == half_way && (kept & 1));
  return static_cast<uint16_t>(sign | (kept + up));  // a carry into the exponent is right, too
}

}  // namespace m3e
