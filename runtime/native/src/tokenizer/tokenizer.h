// SPDX-License-Identifier: Apache-2.0
// A tokenizer.json: from text to token ids, exactly as the crate `tokenizers` computes them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pair_template.h"

namespace m3e {

// Tokens that remain of `most` (0: no limit) beside the special ones. Throws Error(argument) if
// these are more.
size_t room_for_text(int64_t most, size_t special_tokens);

class Tokenizer {
 public:
  // Reads the content of a tokenizer.json. Its own truncation and padding are ignored. Throws
  // Error(unsupported) that names what it asks for beyond what is implemented, and Error(format) if
  // it is damaged.
  explicit Tokenizer(std::string_view json);
  ~Tokenizer();

  // Appends the ids of `text` with special tokens to `ids`, at most `most` of them (0: no limit),
  // truncated at the right, special tokens kept. Returns the number of tokens that were cut off,
  // or, if `count` is false, only whether any were (0 or 1), which saves reading the rest. Throws
  // Error(argument) if `text` is not UTF-8. Several threads may call it at once.
  int64_t encode(std::string_view text, int64_t most, bool count, std::vector<int32_t>& ids) const;

  // Appends the ids of `text`, which is UTF-8, without special tokens, at least until `ids` has
  // `most`.
  void append_text(std::string_view text, size_t most, std::vector<int32_t>& ids) const;

  const PairTemplate& pair_template() const;  // see PairEncoder

  int32_t special_tokens() const;     // that one text gets
  int64_t vocabulary_size() const;    // largest id + 1
  bool is_special(int32_t id) const;  // whether it is an added token that is marked as special

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace m3e
