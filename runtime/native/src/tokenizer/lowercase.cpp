// SPDX-License-Identifier: Apache-2.0
#include "rewrite.h"

namespace m3e::unicode {
namespace {

constexpr char32_t kDottedI = 0x130;  // the one whose lowercase is two characters

char to_lowercase(char byte) { return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte; }

}  // namespace

bool is_ascii(std::string_view text) {
  unsigned char bits = 0;
  for (const char byte : text) bits |= static_cast<unsigned char>(byte);
  return bits < 0x80;
}

void append_lowercase(std::string& to, char32_t character) {
  if (!has(character, kCased)) return append(to, character);
  if (character == kDottedI) {
    to += "i\u0307";
    return;
  }
  const size_t block = kLowercaseNumberBlocks[character >> 7];
  const size_t number = kLowercaseNumbers[block << 7 | (character & 127)];
  append(to, static_cast<char32_t>(static_cast<int32_t>(character) + kLowercaseShifts[number]));
}

void to_lowercase(std::string& text) {
  if (is_ascii(text)) {
    for (char& byte : text) byte = to_lowercase(byte);
    return;
  }
  rewrite(
      text, [](char32_t character) { return has(character, kCased); },
      [](char32_t character, std::string& lower) { append_lowercase(lower, character); });
}

}  // namespace m3e::unicode
