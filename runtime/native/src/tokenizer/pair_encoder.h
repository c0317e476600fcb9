// SPDX-License-Identifier: Apache-2.0
// Token ids and types of pairs of texts, exactly as the crate `tokenizers` computes them with the
// truncation "longest_first".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace m3e {

// Tokens of the two texts of a pair.
struct PairLengths {
  size_t first, second;
};

// What remains of `given` in `room` tokens: the longer text is shortened down to the shorter one,
// then both.
PairLengths longest_first(PairLengths given, size_t room);

// Encodes pairs one after the other. A first text that is the one before is not tokenized again.
class PairEncoder {
 public:
  // See Tokenizer::encode for `most` and `count`. Throws Error(unsupported) if the tokenizer's
  // template for pairs is not implemented, and Error(argument) if the special tokens alone are more
  // than `most`.
  PairEncoder(const Tokenizer& tokenizer, int64_t most, bool count);

  // Appends the ids and types of the tokens; returns what Tokenizer::encode does, of both texts
  // together. Throws Error(argument) if a text is not UTF-8. `first` must live until the next call.
  int64_t encode(std::string_view first, std::string_view second, std::vector<int32_t>& ids,
                 std::vector<int32_t>& types);

 private:
  struct Text {
    std::string_view text;
    std::vector<int32_t> ids;
    bool is_whole = false;  // whether `ids` are all that it has
    bool is_read = false;
  };

  void read(std::string_view text, const char* name, Text& to) const;
  void read_whole(Text& text) const;
  void append(PairLengths kept, std::vector<int32_t>& ids, std::vector<int32_t>& types) const;

  const Tokenizer& tokenizer_;
  const PairTemplate& template_;
  const size_t room_;  // tokens of both texts together
  const bool count_;
  Text first_, second_;
};

}  // namespace m3e
