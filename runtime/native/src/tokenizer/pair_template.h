// SPDX-License-Identifier: Apache-2.0
// What a post-processor makes of the two texts of a pair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace m3e {

// Special tokens, or the tokens of one of the texts. All have the same type.
struct PairPiece {
  enum class Kind { special, first, second } kind;
  int32_t type;
  std::vector<int32_t> ids = {};  // of special tokens
};

struct PairTemplate {
  std::vector<PairPiece> pieces;  // one of them is the first text, and one the second
  std::string unsupported;        // why pairs cannot be made; empty if they can

  size_t special_tokens() const {
    size_t count = 0;
    for (const PairPiece& piece : pieces) count += piece.ids.size();
    return count;
  }
};

// The texts one behind the other, as without a post-processor.
inline PairTemplate plain_pair() {
  return {{{PairPiece::Kind::first, 0}, {PairPiece::Kind::second, 1}}, ""};
}

}  // namespace m3e
