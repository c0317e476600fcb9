// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pre_tokenizer.h"

namespace m3e {

// Splits as GPT-2 does, and writes each byte as the printable character that stands for it in the
// vocabulary.
class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const Json& described);
  void apply(Pieces& pieces) const override;

 private:
  void append(std::string_view text, bool starts_text, Pieces& to) const;

  bool add_prefix_space_;
  bool use_regex_;
};

}  // namespace m3e
