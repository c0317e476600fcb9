// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "unicode.h"

namespace m3e::unicode {
namespace {

struct Form {
  Flag doubtful;  // characters without this flag may stay as they are, and nothing moves past them
  bool compatible;
  bool composes;
};

struct Character {
  char32_t code;
  uint8_t combining_class;
};

constexpr char32_t kHangul = 0xAC00, kHangulCount = 11172;
constexpr char32_t kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;  // no tail is the first tail
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28;

bool is_hangul(char32_t code) { return code - kHangul < kHangulCount; }

// Decomposes characters into a buffer, which it keeps in canonical order.
class Decomposer {
 public:
  explicit Decomposer(bool compatible) : compatible_(compatible) {}

  std::vector<Character>& decompose(const char* at, const char* end) {
    characters_.clear();
    while (at < end) decompose(next(at));
    order();
    return characters_;
  }

 private:
  void decompose(char32_t code) {
    if (is_hangul(code)) return decompose_hangul(code - kHangul);
    const uint16_t* const entry = entry_of(code);
    const bool compatible = compatible_ && entry[2];
    const size_t length = compatible ? entry[2] : entry[1];
    if (!length) return push(code);
    const char* at = reinterpret_cast<const char*>(kDecomposed) + entry[0];
    if (compatible) at += entry[1];
    for (const char* const end = at + length; at < end;) push(next(at));
  }

  static const uint16_t* entry_of(char32_t code) {
    if (code >= kDecompositionEnd) return kDecompositions;
    const size_t block = kDecompositionNumberBlocks[code >> 7];
    return kDecompositions + 3 * kDecompositionNumbers[block << 7 | (code & 127)];
  }

  void decompose_hangul(char32_t index) {
    characters_.push_back({kLeads + index / (kVowelCount * kTailCount), 0});
    characters_.push_back({kVowels + index / kTailCount % kVowelCount, 0});
    if (index % kTailCount) characters_.push_back({kTails + index % kTailCount, 0});
  }

  void push(char32_t code) { characters_.push_back({code, combining_class_of(record_of(code))}); }

  void order() {
    const auto lower = [](const Character& a, const Character& b) {
      return a.combining_class < b.combining_class;
    };
    const auto starts = [](const Character& c) { return !c.combining_class; };
    for (auto begin = characters_.begin(); begin != characters_.end();) {
      const auto end = std::find_if(begin, characters_.end(), starts);
      if (!std::is_sorted(begin, end, lower)) std::stable_sort(begin, end, lower);
      begin = end == characters_.end() ? end : end + 1;
    }
  }

  const bool compatible_;
  std::vector<Character> characters_;
};

char32_t compose_hangul(char32_t first, char32_t second) {
  const char32_t lead = first - kLeads, vowel = second - kVowels;
  if (lead < kLeadCount && vowel < kVowelCount) {
    return kHangul + (lead * kVowelCount + vowel) * kTailCount;
  }
  const char32_t tail = second - kTails;
  const bool open = is_hangul(first) && (first - kHangul) % kTailCount == 0;
  return open && tail && tail < kTailCount ? first + tail : 0;
}

// What two characters compose to; 0 if they do not.
char32_t compose(char32_t first, char32_t second) {
  if (!has(second, kSecond)) return 0;
  if (const char32_t hangul = compose_hangul(first, second)) return hangul;
  size_t low = 0, high = kCompositionCount;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const uint32_t* const triple = kCompositions + 3 * middle;
    if (triple[0] == first && triple[1] == second) return triple[2];
    const bool below = triple[0] != first ? triple[0] < first : triple[1] < second;
    (below ? low : high) = below ? middle + 1 : middle;
  }
  return 0;
}

// Composes in place.
void compose(std::vector<Character>& characters) {
  size_t written = 0;
  Character* starter = nullptr;
  uint8_t last = 0;  // class of the character behind the starter, 0 directly behind it
  for (const Character& c : characters) {
    const bool blocked = !starter || (last && last >= c.combining_class);
    if (!blocked) {
      if (const char32_t composed = compose(starter->code, c.code)) {
        starter->code = composed;
        continue;
      }
    }
    characters[written] = c;
    if (!c.combining_class) starter = &characters[written];
    last = c.combining_class;
    ++written;
  }
  characters.resize(written);
}

// Normalizes a text by the stretches of it that may not be in the form yet.
class Normalization {
 public:
  Normalization(std::string& text, Form form)
      : text_(text), form_(form), decomposer_(form.compatible) {}

  void run() {
    const char *at = text_.data(), *const end = at + text_.size();
    const char* copied = at;
    const char* settled = at;  // where the last character begins that may stay
    while (at < end) {
      const char* const begin = at;
      if (!is_doubtful(next(at))) {
        settled = begin;
        continue;
      }
      const char* const from = form_.composes ? settled : begin;
      const char* until = at;
      while (until = at, at < end && is_doubtful(next(at))) continue;
      if (normalized_.empty()) normalized_.reserve(text_.size() + text_.size() / 2);
      normalized_.append(copied, from);
      append_form(from, until);
      at = copied = settled = until;
    }
    if (copied == text_.data()) return;
    normalized_.append(copied, end);
    text_.swap(normalized_);
  }

 private:
  bool is_doubtful(char32_t code) const { return code >= 0x80 && has(code, form_.doubtful); }

  void append_form(const char* begin, const char* end) {
    std::vector<Character>& characters = decomposer_.decompose(begin, end);
    if (form_.composes) compose(characters);
    for (const Character& c : characters) append(normalized_, c.code);
  }

  std::string& text_;
  std::string normalized_;
  const Form form_;
  Decomposer decomposer_;
};

void normalize(std::string& text, Form form) {
  if (!is_ascii(text)) Normalization(text, form).run();
}

}  // namespace

void to_nfc(std::string& text) { normalize(text, {kNotNfc, false, true}); }
void to_nfd(std::string& text) { normalize(text, {kNotNfd, false, false}); }
void to_nfkc(std::string& text) { normalize(text, {kNotNfkc, true, true}); }
void to_nfkd(std::string& text) { normalize(text, {kNotNfkd, true, false}); }

}  // namespace m3e::unicode
