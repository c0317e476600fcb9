// SPDX-License-Identifier: Apache-2.0
// Tokens with ids of their own, as every model but Unigram has them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "tokenizer/piece_trie.h"
#include "tokenizer/vocabulary.h"

namespace m3e {

class TokenIds {
 public:
  explicit TokenIds(Vocabulary& vocabulary)
      : pieces_(take_pieces(vocabulary)), ids_(std::move(vocabulary.ids)), trie_(pieces_) {}
  TokenIds(const TokenIds&) = delete;

  std::optional<int32_t> find(std::string_view token) const {
    const uint32_t index = trie_.find(token);
    if (index == PieceTrie::kNone) return std::nullopt;
    return ids_[index];
  }
  int32_t id(uint32_t index) const { return ids_[index]; }
  size_t size() const { return trie_.size(); }
  int32_t largest() const {
    return ids_.empty() ? -1 : *std::max_element(ids_.begin(), ids_.end());
  }
  const PieceTable& pieces() const { return pieces_; }
  const PieceTrie& trie() const { return trie_; }

 private:
  static PieceTable take_pieces(Vocabulary& vocabulary) {
    if (vocabulary.kind != Vocabulary::Kind::ids) refuse("the model has no vocabulary of ids");
    return std::move(vocabulary.pieces);
  }

  PieceTable pieces_;
  std::vector<int32_t> ids_;
  PieceTrie trie_;
};

// The crate, too, notices a missing unknown token only where a text needs it.
[[noreturn]] inline void refuse_unknown(const std::string& token) {
  refuse("the text needs the unknown token \"" + token + "\", which the vocabulary lacks");
}

}  // namespace m3e
