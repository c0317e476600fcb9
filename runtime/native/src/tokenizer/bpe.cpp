// SPDX-License-Identifier: Apache-2.0
#include "error.h"
#include "tokenizer/bpe_merges.h"
#include "tokenizer/bpe_word.h"
#include "tokenizer/byte_tokens.h"
#include "tokenizer/known_words.h"
#include "tokenizer/models.h"
#include "tokenizer/token_ids.h"

namespace m3e {
namespace {

void require_no_dropout(const ModelJson& json) {
  const std::optional<double> dropout = json.optional_number("dropout");
  if (!dropout) return;
  const auto rounded = static_cast<float>(*dropout);  // as the crate has it
  if (!(rounded >= 0 && rounded <= 1)) refuse("the model's \"dropout\" is not within 0 and 1");
  if (rounded > 0) {
    throw Error(ErrorKind::unsupported,
                "the tokenizer's \"dropout\" is not supported: set it to 0");
  }
}

class Bpe : public TokenModel {
 public:
  explicit Bpe(ModelJson& json)
      : tokens_(json.vocabulary),
        unknown_(json.optional_string("unk_token")),
        prefix_(json.optional_string("continuing_subword_prefix").value_or("")),
        suffix_(json.optional_string("end_of_word_suffix").value_or("")),
        fuses_unknown_(json.flag_or_null("fuse_unk")),
        has_bytes_(json.flag_or_null("byte_fallback")),
        ignores_merges_(json.flag_or_null("ignore_merges")),
        bytes_([&](std::string_view token) { return tokens_.find(token); }),
        merges_(json.text("merges"), tokens_, prefix_),
        known_words_(tokens_.pieces().size()) {
    if (unknown_) unknown_id_ = tokens_.find(*unknown_);
    require_no_dropout(json);
  }

  void tokenize(std::string_view piece, size_t most, std::vector<int32_t>& ids) const override {
    if (piece.empty()) return;
    if (ignores_merges_) {
      if (const std::optional<int32_t> id = tokens_.find(piece)) return ids.push_back(*id);
    }
    std::string scratch;
    const uint32_t whole = tokens_.trie().find(decorated(piece, true, true, scratch));
    if (whole != PieceTrie::kNone && known_words_.stays_whole(whole)) {
      return ids.push_back(tokens_.id(whole));
    }
    BpeWord word;
    split(piece, word);
    word.merge(merges_);
    if (whole != PieceTrie::kNone && known_words_.is_untried(whole)) {
      known_words_.remember(whole, word.is_one(tokens_.id(whole)));
    }
    word.append_to(ids, most);
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    return tokens_.find(token);
  }
  size_t size() const override { return tokens_.size(); }
  int32_t largest_id() const override { return tokens_.largest(); }

 private:
  // Into the tokens of its characters. An unknown token waits for the next known character, and
  // byte tokens pass it by, as in the crate.
  void split(std::string_view piece, BpeWord& word) const {
    std::string scratch;
    bool waits = false;
    for (size_t begin = 0, end; begin < piece.size(); begin = end) {
      end = begin + 1;
      while (end < piece.size() && (piece[end] & 0xC0) == 0x80) ++end;
      const std::string_view character =
          decorated(piece.substr(begin, end - begin), begin == 0, end == piece.size(), scratch);
      if (const std::optional<int32_t> id = tokens_.find(character)) {
        if (waits) word.add(*unknown_id_);
        waits = false;
        word.add(*id);
      } else if (has_bytes_ && bytes_.has_all(character)) {
        for (const char byte : character) word.add(bytes_[byte]);
      } else if (unknown_) {
        if (!unknown_id_) refuse_unknown(*unknown_);
        if (waits && !fuses_unknown_) word.add(*unknown_id_);
        waits = true;
      }
    }
    if (waits) word.add(*unknown_id_);
  }

  std::string_view decorated(std::string_view character, bool is_first, bool is_last,
                             std::string& scratch) const {
    const bool has_prefix = !is_first && !prefix_.empty();
    const bool has_suffix = is_last && !suffix_.empty();
    if (!has_prefix && !has_suffix) return character;
    scratch.clear();
    if (has_prefix) scratch += prefix_;
    scratch += character;
    if (has_suffix) scratch += suffix_;
    return scratch;
  }

  TokenIds tokens_;
  std::optional<std::string> unknown_;
  std::optional<int32_t> unknown_id_;
  std::string prefix_;
  std::string suffix_;
  bool fuses_unknown_;
  bool has_bytes_;
  bool ignores_merges_;
  ByteTokens bytes_;
  BpeMerges merges_;
  mutable KnownWords known_words_;
};

}  // namespace

std::unique_ptr<TokenModel> make_bpe(ModelJson& json) {
  json.required("merges");
  return std::make_unique<Bpe>(json);
}

}  // namespace m3e
