// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/models.h"
#include "tokenizer/token_ids.h"

namespace m3e {
namespace {

bool has_more_characters_than(uint64_t most, std::string_view piece) {
  if (piece.size() <= most) return false;
  uint64_t count = 0;
  for (const char c : piece) count += (c & 0xC0) != 0x80;
  return count > most;
}

class WordPiece : public TokenModel {
 public:
  explicit WordPiece(ModelJson& json)
      : tokens_(json.vocabulary),
        continuing_(tokens_.pieces(), json.string("continuing_subword_prefix")),
        most_characters_(json.natural("max_input_chars_per_word")),
        unknown_(json.string("unk_token")),
        unknown_id_(tokens_.find(unknown_)) {}

  // Again and again the longest token that the rest begins with.
  void tokenize(std::string_view piece, size_t, std::vector<int32_t>& ids) const override {
    if (has_more_characters_than(most_characters_, piece)) return append_unknown(ids);
    const size_t before = ids.size();
    const PieceTrie* trie = &tokens_.trie();
    for (size_t at = 0; at < piece.size(); trie = &continuing_) {
      uint32_t token = PieceTrie::kNone;
      size_t length = 0;
      trie->each_prefix(piece.substr(at), [&](uint32_t index, size_t its_length) {
        token = index;
        length = its_length;
      });
      if (token == PieceTrie::kNone) {
        ids.resize(before);
        return append_unknown(ids);
      }
      ids.push_back(tokens_.id(token));
      at += length;
    }
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    return tokens_.find(token);
  }
  size_t size() const override { return tokens_.size(); }
  int32_t largest_id() const override { return tokens_.largest(); }

 private:
  void append_unknown(std::vector<int32_t>& ids) const {
    if (!unknown_id_) refuse_unknown(unknown_);
    ids.push_back(*unknown_id_);
  }

  TokenIds tokens_;
  PieceTrie continuing_;
  uint64_t most_characters_;
  std::string unknown_;
  std::optional<int32_t> unknown_id_;
};

}  // namespace

std::unique_ptr<TokenModel> make_word_piece(ModelJson& json) {
  return std::make_unique<WordPiece>(json);
}

}  // namespace m3e
