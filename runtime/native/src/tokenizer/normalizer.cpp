// SPDX-License-Identifier: Apache-2.0
#include "normalizer.h"

#include <vector>

#include "error.h"
#include "normalizers.h"

namespace m3e {
namespace {

// One of the normalizers that have no settings.
class Plain : public Normalizer {
 public:
  using Apply = void (*)(std::string& text);
  explicit Plain(Apply apply) : apply_(apply) {}
  void apply(std::string& text) const override { apply_(text); }

 private:
  const Apply apply_;
};

void strip_accents(std::string& text) {
  if (!unicode::is_ascii(text)) unicode::remove_if(text, unicode::is_combining_mark);
}

// SentencePiece's rules nmt: control characters go, and what is or looks like a space becomes one.
bool nmt_removes(char32_t c) {
  return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
         c == 0x8F || c == 0x9F;
}

bool nmt_blanks(char32_t c) {
  if (c < 0x80) return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D;
  return c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
         c == 0xFEFF || c == 0xFFFD;
}

void nmt(std::string& text) {
  unicode::remove_if(text, nmt_removes);
  unicode::rewrite(text, nmt_blanks, [](char32_t, std::string& out) { out += ' '; });
}

// GPT-2's alphabet of bytes: a printable one of Latin-1 is itself, the others follow from U+0100.
bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

char32_t character_of(uint8_t byte) {
  if (is_printable(byte)) return byte;
  char32_t unprintable = 0;
  for (int b = 0; b < byte; ++b) unprintable += !is_printable(b);
  return 0x100 + unprintable;
}

void byte_level(std::string& text) {
  std::string out;
  out.reserve(2 * text.size());
  for (const char byte : text) unicode::append(out, character_of(static_cast<uint8_t>(byte)));
  text.swap(out);
}

constexpr struct {
  const char* type;
  Plain::Apply apply;
} kPlain[] = {
    {"NFC", unicode::to_nfc},
    {"NFD", unicode::to_nfd},
    {"NFKC", unicode::to_nfkc},
    {"NFKD", unicode::to_nfkd},
    {"Nmt", nmt},
    {"Lowercase", unicode::to_lowercase},
    {"ByteLevel", byte_level},
    {"StripAccents", strip_accents},
};

class Strip : public Normalizer {
 public:
  explicit Strip(const Json& described)
      : left_(described.at("strip_left").boolean()),
        right_(described.at("strip_right").boolean()) {}

  void apply(std::string& text) const override {
    if (right_) text.resize(end_of_last(text));
    if (left_) text.erase(0, begin_of_first(text));
  }

 private:
  static size_t begin_of_first(const std::string& text) {
    const char *at = text.data(), *const end = at + text.size();
    for (const char* begin = at; at < end; begin = at) {
      if (!unicode::is_whitespace(unicode::next(at))) return begin - text.data();
    }
    return text.size();
  }

  static size_t end_of_last(const std::string& text) {
    const char *const begin = text.data(), *end = begin + text.size();
    while (end > begin) {
      const char* at = end - 1;
      while ((*at & 0xC0) == 0x80) --at;
      const char* const character = at;
      if (!unicode::is_whitespace(unicode::next(at))) break;
      end = character;
    }
    return end - begin;
  }

  const bool left_;
  const bool right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const Json& described) : prepended_(described.at("prepend").string()) {
    // The crate repeats the first character then if another normalizer follows.
    if (prepended_.empty()) {
      throw Error(ErrorKind::unsupported, "normalizer Prepend with an empty text");
    }
  }

  void apply(std::string& text) const override {
    if (!text.empty()) text.insert(0, prepended_);
  }

 private:
  const std::string prepended_;
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(const Json& described) {
    for (const Json& one : described.at("normalizers").array()) {
      normalizers_.push_back(read_normalizer(one));
    }
  }

  void apply(std::string& text) const override {
    const size_t before = text.size();
    for (const NormalizerPtr& normalizer : normalizers_) {
      normalizer->apply(text);
      check_growth(before, text.size());
    }
  }

 private:
  std::vector<NormalizerPtr> normalizers_;
};

}  // namespace

void check_growth(size_t before, size_t after) {
  constexpr size_t kAllowed = 1 << 20, kTimes = 64;  // the longest of NFKD is 11 times as long
  if (after > kAllowed && (after - kAllowed) / kTimes > before) {
    refuse("The normalizer of tokenizer.json makes a text more than 64 times as long.");
  }
}

NormalizerPtr read_normalizer(const Json& described) {
  const std::string& type = described.at("type").string();
  for (const auto& plain : kPlain) {
    if (type == plain.type) return std::make_unique<Plain>(plain.apply);
  }
  if (type == "Sequence") return std::make_unique<Sequence>(described);
  if (type == "BertNormalizer") return read_bert_normalizer(described);
  if (type == "Precompiled") return read_precompiled(described);
  if (type == "Replace") return read_replace(described);
  if (type == "Prepend") return std::make_unique<Prepend>(described);
  if (type == "Strip") return std::make_unique<Strip>(described);
  throw Error(ErrorKind::unsupported, "normalizer " + type);
}

}  // namespace m3e
