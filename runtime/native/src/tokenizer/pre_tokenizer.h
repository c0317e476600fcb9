// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers of a tokenizer.json, as the crate `tokenizers` computes them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace m3e {

// Consecutive pieces of a text. Pre-tokenizers split pieces, drop parts of them and replace their
// bytes (Metaspace, ByteLevel).
struct Pieces {
  struct Piece {
    size_t begin;  // in `text`
    size_t end;
    bool starts_text;  // whether it begins where the text that was given begins
  };
  std::string text;
  std::vector<Piece> pieces;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

// As read_normalizer.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& described);

}  // namespace m3e
