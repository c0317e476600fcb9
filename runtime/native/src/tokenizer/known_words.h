// SPDX-License-Identifier: Apache-2.0
// Remembers for which tokens BPE, given the token's text as a word, arrives at that one token. Most
// words of a text are such tokens. Each is tried when a text has it first; threads may try it at
// once, for they find the same.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace m3e {

class KnownWords {
 public:
  explicit KnownWords(size_t tokens) : states_(new std::atomic<uint8_t>[tokens]) {
    for (size_t i = 0; i < tokens; ++i) states_[i].store(kUntried, std::memory_order_relaxed);
  }
  bool stays_whole(uint32_t token) const { return state(token) == kWhole; }
  bool is_untried(uint32_t token) const { return state(token) == kUntried; }
  void remember(uint32_t token, bool stays_whole) {
    states_[token].store(stays_whole ? kWhole : kSplit, std::memory_order_relaxed);
  }

 private:
  enum : uint8_t { kUntried, kWhole, kSplit };
  uint8_t state(uint32_t token) const { return states_[token].load(std::memory_order_relaxed); }

  std::unique_ptr<std::atomic<uint8_t>[]> states_;
};

}  // namespace m3e
