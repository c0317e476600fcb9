// SPDX-License-Identifier: Apache-2.0
// Which pairs of tokens BPE merges, in which order, and into what.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/token_ids.h"

namespace m3e {

struct BpeMerge {
  uint32_t rank;  // the lower goes first
  int32_t id;     // of the token that the pair becomes
};

class BpeMerges {
 public:
  // Reads ["a b", ...] or [["a", "b"], ...]. `prefix` is what the second of a pair loses.
  BpeMerges(std::string_view json, const TokenIds& tokens, std::string_view prefix);

  // Null if the pair does not merge.
  const BpeMerge* find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t at = slot_of(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return &slots_[at].merge;
      if (slots_[at].key == kFree) return nullptr;
    }
  }

 private:
  // Ids are not negative, so no pair has this key.
  static constexpr uint64_t kFree = 0xFFFFFFFFFFFFFFFF;
  struct Slot {
    uint64_t key = kFree;
    BpeMerge merge = {};
  };
  class Reader;

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    const uint64_t mixed = (key ^ key >> 29) * 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
    return static_cast<size_t>(mixed >> 32) & mask_;
  }
  void insert(uint64_t key, BpeMerge merge);

  std::vector<Slot> slots_;  // open addressing, at most half full
  size_t mask_ = 0;
};

}  // namespace m3e
