// SPDX-License-Identifier: Apache-2.0
// The vocabulary of a model: its pieces, and their ids or, for Unigram, their scores.
#pragma once

#include <cstdint>
#include <vector>

#include "json_text.h"
#include "tokenizer/piece_table.h"

namespace m3e {

struct Vocabulary {
  enum class Kind { none, ids, scores };

  // Reads {"piece": id, ...} or [["piece", score], ...], whose ids count from 0.
  void read(JsonText& json);

  Kind kind = Kind::none;
  PieceTable pieces;
  std::vector<int32_t> ids;    // by piece, of Kind::ids
  std::vector<double> scores;  // by piece, of Kind::scores

 private:
  void read_ids(JsonText& json);
  void read_scores(JsonText& json);
};

}  // namespace m3e
