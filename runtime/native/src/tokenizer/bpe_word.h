// SPDX-License-Identifier: Apache-2.0
// A word while BPE merges its tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "tokenizer/bpe_merges.h"
#include "tokenizer/short_vector.h"

namespace m3e {

class BpeWord {
 public:
  void add(int32_t id);
  void merge(const BpeMerges& merges);
  bool is_one(int32_t id) {  // after merging
    return !tokens_.empty() && tokens_[0].after == kNowhere && tokens_[0].id == id;
  }
  void append_to(std::vector<int32_t>& ids, size_t most);

 private:
  static constexpr int32_t kNowhere = -1;
  struct Token {
    int32_t id;
    int32_t before, after;  // its neighbours
    bool is_merged;         // into the one before it
  };
  struct Candidate {
    uint32_t rank;
    int32_t at;
    int32_t id;
  };

  void offer(const BpeMerges& merges, int32_t left, int32_t right);
  void join(int32_t at, int32_t id);

  ShortVector<Token, 48> tokens_;
  ShortVector<Candidate, 64> queue_;  // a heap
};

}  // namespace m3e
