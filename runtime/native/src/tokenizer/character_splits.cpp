// SPDX-License-Identifier: Apache-2.0
#include "character_splits.h"

#include "error.h"

namespace m3e {
namespace {

bool is_ascii_punctuation(char32_t c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

// ASCII's symbols count as punctuation, other symbols do not.
bool is_punctuation(char32_t c) {
  return c < 0x80 ? is_ascii_punctuation(c) : unicode::is_punctuation(c);
}

bool is_space(char32_t c) {
  return c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') : unicode::is_whitespace(c);
}

template <class Matches>
void split_at(Pieces& pieces, SplitBehavior behavior, Matches matches) {
  replace_by_parts(pieces, [&](std::string_view text, Spans& spans) {
    find_characters(text, matches, spans);
    apply_behavior(behavior, spans);
  });
}

// Calls kind(character) for each and makes runs of one kind parts. Kind 0 is dropped; characters of
// the kind `alone` are parts of their own.
template <class Kind>
void split_runs(Pieces& pieces, int alone, Kind kind) {
  replace_by_parts(pieces, [&](std::string_view text, Spans& spans) {
    const char* const start = text.data();
    int run = 0;
    for (const char *at = start, *end = start + text.size(); at < end;) {
      const size_t begin = static_cast<size_t>(at - start);
      const int found = kind(unicode::next(at));
      if (found && (found != run || found == alone)) spans.push_back({begin, begin, false});
      if (found) spans.back().end = static_cast<size_t>(at - start);
      run = found;
    }
  });
}

}  // namespace

void BertSplit::apply(Pieces& pieces) const {
  static constexpr int kDropped = 0, kWord = 1, kPunctuation = 2;
  split_runs(pieces, kPunctuation, [](char32_t c) {
    return is_space(c) ? kDropped : is_punctuation(c) ? kPunctuation : kWord;
  });
}

void WordSplit::apply(Pieces& pieces) const {
  static constexpr int kDropped = 0, kWord = 1, kOther = 2, kNone = -1;
  split_runs(pieces, kNone, [](char32_t c) {
    return unicode::is_word(c) ? kWord : unicode::regex_is_space(c) ? kDropped : kOther;
  });
}

void WhitespaceSplit::apply(Pieces& pieces) const {
  split_runs(pieces, -1, [](char32_t c) { return is_space(c) ? 0 : 1; });
}

PunctuationSplit::PunctuationSplit(const Json& described)
    : behavior_(split_behavior(described.text("behavior", "Isolated"))) {}

void PunctuationSplit::apply(Pieces& pieces) const { split_at(pieces, behavior_, is_punctuation); }

DigitSplit::DigitSplit(const Json& described)
    : behavior_(described.at("individual_digits").boolean() ? SplitBehavior::isolated
                                                            : SplitBehavior::contiguous) {}

void DigitSplit::apply(Pieces& pieces) const { split_at(pieces, behavior_, unicode::is_numeric); }

DelimiterSplit::DelimiterSplit(const Json& described)
    : delimiter_(read_character(described, "delimiter")) {}

void DelimiterSplit::apply(Pieces& pieces) const {
  split_at(pieces, SplitBehavior::removed, [&](char32_t c) { return c == delimiter_; });
}

char32_t read_character(const Json& described, std::string_view key) {
  const std::string& text = described.at(key).string();
  const char* behind = text.data();
  const char32_t character = text.empty() ? 0 : unicode::next(behind);
  if (text.empty() || behind != text.data() + text.size()) {
    refuse("pre_tokenizer has a " + std::string(key) + " that is not one character");
  }
  return character;
}

}  // namespace m3e
