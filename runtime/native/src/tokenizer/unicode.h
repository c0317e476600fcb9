// SPDX-License-Identifier: Apache-2.0
// Unicode, in the versions that the crate `tokenizers` and its dependencies use.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "unicode_tables.h"

namespace m3e::unicode {

bool is_utf8(std::string_view text);
bool is_ascii(std::string_view text);

// Decodes the character at `at`, in valid UTF-8, and moves `at` behind it.
inline char32_t next(const char*& at) {
  const auto byte = [&] { return static_cast<unsigned char>(*at++); };
  const auto rest = [&] { return static_cast<char32_t>(byte() & 0x3F); };
  const char32_t first = byte();
  if (first < 0x80) return first;
  const char32_t second = rest();
  if (first < 0xE0) return (first & 0x1F) << 6 | second;
  const char32_t third = rest();
  if (first < 0xF0) return (first & 0x0F) << 12 | second << 6 | third;
  return (first & 0x07) << 18 | second << 12 | third << 6 | rest();
}
void append(std::string& to, char32_t character);

// As Rust's standard library has them (char::is_whitespace, is_control, is_numeric, to_lowercase).
inline bool is_whitespace(char32_t character) { return has(character, kWhitespace); }
inline bool is_control(char32_t character) {  // category Cc
  return character < 0x20 || (character >= 0x7F && character < 0xA0);
}
inline bool is_numeric(char32_t character) {  // categories Nd, Nl, No
  return has(character, kNumeric);
}
void append_lowercase(std::string& to, char32_t character);
void to_lowercase(std::string& text);  // character by character: no final sigma

// General categories, in the version of the crate `unicode_categories`.
inline bool is_punctuation(char32_t character) { return has(character, kPunctuation); }  // P*
// Mn; true too for what decomposes into such only, which is no matter after NFD.
inline bool is_mark_nonspacing(char32_t character) { return has(character, kNonspacing); }
// C*: Cc, Cf, Cn, Co, as BertNormalizer asks.
inline bool is_other(char32_t character) { return has(character, kOther); }

// M*, in the version of the crate `unicode-normalization`.
inline bool is_combining_mark(char32_t character) { return has(character, kCombining); }

// The categories that regular expressions name, as Oniguruma has them, which runs the patterns of a
// tokenizer.json and of ByteLevel.
inline bool regex_is_letter(char32_t character) { return has(character, kLetter); }     // \p{L}
inline bool regex_is_number(char32_t character) { return has(character, kNumber); }     // \p{N}
inline bool regex_is_space(char32_t character) { return has(character, kWhitespace); }  // \s
inline bool regex_is_word(char32_t character) { return has(character, kRegexWord); }    // \w

// \w as the crate `regex` has it, which the pre-tokenizer Whitespace and the flag single_word of
// added tokens use.
inline bool is_word(char32_t character) { return has(character, kWord); }

// Normalization forms, in the version of the crate `unicode-normalization`.
void to_nfc(std::string& text);
void to_nfd(std::string& text);
void to_nfkc(std::string& text);
void to_nfkd(std::string& text);

// The end of the extended grapheme cluster that begins at `begin`, in valid UTF-8 that ends at
// `end`, in the version of the crate `unicode-segmentation`. Takes two regional indicators apart:
// see Grapheme.
const char* grapheme_end(const char* begin, const char* end);

}  // namespace m3e::unicode
