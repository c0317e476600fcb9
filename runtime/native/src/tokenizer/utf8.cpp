// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "unicode.h"

namespace m3e::unicode {
namespace {

// Bytes of a character by its first byte; 0 for a byte that begins none.
int length_of(uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;  // C0 and C1 would be overlong
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

// Whether the second byte rules out overlong forms, surrogates and what is above U+10FFFF.
bool second_fits(uint8_t first, uint8_t second) {
  const uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return second >= least && second <= most;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = at + text.size();
  while (at < end) {
    const int length = length_of(*at);
    if (!length || end - at < length) return false;
    if (length > 1 && !second_fits(at[0], at[1])) return false;
    for (int i = 2; i < length; ++i) {
      if ((at[i] & 0xC0) != 0x80) return false;
    }
    at += length;
  }
  return true;
}

void append(std::string& to, char32_t code) {
  const auto put = [&](char32_t byte) { to.push_back(static_cast<char>(byte)); };
  const auto rest = [&](int shift) { put(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    rest(0);
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    rest(6);
    rest(0);
  } else {
    put(0xF0 | (code >> 18));
    rest(12);
    rest(6);
    rest(0);
  }
}

}  // namespace m3e::unicode
