// SPDX-License-Identifier: Apache-2.0
// Tokens that are found in the text before the model sees it: special tokens, and words that
// somebody added to the vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "json.h"
#include "model.h"
#include "normalizer.h"
#include "token_trie.h"

namespace m3e {

// A part of a text: an added token, or the text between two of them.
struct Segment {
  size_t begin;
  size_t end;
  int32_t id;  // negative for text
};

// The added tokens of one pass over the text.
class AddedTokenSet {
 public:
  struct Token {
    std::string content;  // as it is found in the text
    int32_t id;
    bool single_word;
    bool strips_left;  // takes the spaces before it
    bool strips_right;
  };

  AddedTokenSet() = default;
  explicit AddedTokenSet(std::vector<Token> tokens);

  bool empty() const { return trie_.empty(); }
  // Appends the segments of `text`.
  void split(std::string_view text, std::vector<Segment>& segments) const;

 private:
  std::vector<Token> tokens_;
  TokenTrie trie_;
};

struct AddedTokens {
  AddedTokenSet raw;         // found before the normalizer runs
  AddedTokenSet normalized;  // found in the normalized text between those
  std::unordered_set<int32_t> special;
  int32_t largest_id = -1;
};

// Reads the member "added_tokens" of a tokenizer.json. An id in the file counts for nothing: a
// token has the id of the vocabulary, or else the next free one. `normalizer` may be null.
AddedTokens read_added_tokens(const Json& described, const TokenModel& model,
                              const Normalizer* normalizer);

}  // namespace m3e
