// SPDX-License-Identifier: Apache-2.0
// What scripts/unicode_tables.py found out about each character; unicode.h has the functions to
// ask.
#pragma once

#include <cstddef>
#include <cstdint>

namespace m3e::unicode {

// A record: flags, a grapheme class from bit 20, a combining class from bit 24.
enum Flag : uint32_t {
  kWhitespace = 1u << 0,
  kNumeric = 1u << 1,
  kPunctuation = 1u << 2,
  kNonspacing = 1u << 3,
  kOther = 1u << 4,
  kCombining = 1u << 5,
  kLetter = 1u << 6,
  kNumber = 1u << 7,
  kRegexWord = 1u << 8,
  kWord = 1u << 9,
  kCased = 1u << 10,   // its lowercase is another
  kSecond = 1u << 11,  // may compose with the character before it
  kNotNfc = 1u << 12,  // a text with it may not be in this form; without any such it is
  kNotNfkc = 1u << 13,
  kNotNfd = 1u << 14,
  kNotNfkd = 1u << 15,
  kLinker = 1u << 16,      // Indic_Conjunct_Break=Linker
  kIncbExtend = 1u << 17,  // Indic_Conjunct_Break=Extend
};

// Classes of grapheme clusters. Regional indicators are `other`: whether two of them are joined
// makes no difference to Precompiled, which looks up clusters of less than 6 bytes.
enum class Grapheme {
  other,
  control,
  extend,
  zwj,
  spacing_mark,
  prepend,
  pictographic,
  consonant,
  hangul_l,
  hangul_v,
  hangul_t,
  hangul_lv,
  hangul_lvt,
};

extern const uint32_t kRecords[];
extern const uint16_t kRecordNumberBlocks[];
extern const uint8_t kRecordNumbers[];

extern const int32_t kLowercaseShifts[];
extern const uint8_t kLowercaseNumberBlocks[];
extern const uint8_t kLowercaseNumbers[];

extern const uint8_t kDecomposed[];       // UTF-8
extern const uint16_t kDecompositions[];  // begin, bytes, bytes if compatible (0: as canonical)
extern const uint8_t kDecompositionNumberBlocks[];
extern const uint16_t kDecompositionNumbers[];
constexpr char32_t kDecompositionEnd = 1525 << 7;  // from here on nothing decomposes

extern const uint32_t kCompositions[];  // sorted triples: first, second, composed
constexpr size_t kCompositionCount = 940;

inline uint32_t record_of(char32_t character) {
  const uint32_t block = kRecordNumberBlocks[character >> 7];
  return kRecords[kRecordNumbers[block << 7 | (character & 127)]];
}
inline bool has(char32_t character, Flag flag) { return record_of(character) & flag; }
inline Grapheme grapheme_of(uint32_t record) { return static_cast<Grapheme>(record >> 20 & 15); }
inline uint8_t combining_class_of(uint32_t record) { return record >> 24; }

}  // namespace m3e::unicode
