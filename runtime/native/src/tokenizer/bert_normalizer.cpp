// SPDX-License-Identifier: Apache-2.0
#include "normalizers.h"

namespace m3e {
namespace {

// The blocks that BERT's own tokenizer lists, which are not all ideographs that there are.
bool is_chinese(char32_t c) {
  if (c < 0x3400) return false;
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

// What clean_text removes. A tab and the ends of lines are control characters, but spaces to BERT.
bool is_removed(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0xFFFD || unicode::is_other(c);
}

bool is_printable_ascii(std::string_view text) {
  bool printable = true;
  for (const char byte : text) printable &= byte >= ' ' && byte <= '~';
  return printable;
}

class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const Json& described)
      : clean_(described.at("clean_text").boolean()),
        space_chinese_(described.at("handle_chinese_chars").boolean()),
        lowercase_(described.at("lowercase").boolean()),
        strip_accents_(described.flag("strip_accents", lowercase_)) {}

  void apply(std::string& text) const override {
    if (!is_printable_ascii(text)) {
      if (clean_ || space_chinese_) clean(text);
      if (strip_accents_) strip_accents(text);
    }
    if (lowercase_) unicode::to_lowercase(text);
  }

 private:
  void clean(std::string& text) const {
    const auto spaced = [this](char32_t c) { return space_chinese_ && is_chinese(c); };
    const auto cleaned = [this](char32_t c) {
      return clean_ && c != ' ' && (c == 0xFFFD || unicode::has(c, kCleaned));
    };
    unicode::rewrite(
        text, [&](char32_t c) { return cleaned(c) || spaced(c); },
        [&](char32_t c, std::string& out) {
          if (cleaned(c)) {
            if (!is_removed(c)) out += ' ';
          } else {
            out += ' ';
            unicode::append(out, c);
            out += ' ';
          }
        });
  }

  static void strip_accents(std::string& text) {
    if (unicode::is_ascii(text)) return;
    unicode::to_nfd(text);
    unicode::remove_if(text, unicode::is_mark_nonspacing);
  }

  // All control characters are in kOther, so what is not removed is a space.
  static constexpr auto kCleaned =
      static_cast<unicode::Flag>(unicode::kOther | unicode::kWhitespace);
  const bool clean_;
  const bool space_chinese_;
  const bool lowercase_;
  const bool strip_accents_;
};

}  // namespace

NormalizerPtr read_bert_normalizer(const Json& described) {
  return std::make_unique<BertNormalizer>(described);
}

}  // namespace m3e
