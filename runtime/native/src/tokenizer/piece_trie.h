// SPDX-License-Identifier: Apache-2.0
// Finds which pieces of a table a text begins with, a byte at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tokenizer/piece_table.h"

namespace m3e {

class PieceTrie {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  PieceTrie() = default;
  // Holds the pieces that begin with `prefix` and are longer, without it. Of equal pieces it holds
  // the last. `pieces` must outlive the trie and stay where it is.
  explicit PieceTrie(const PieceTable& pieces, std::string_view prefix = {});

  // Calls found(index, length) for each piece that `text` begins with, the shorter first; length
  // counts bytes.
  template <class Found>
  void each_prefix(std::string_view text, Found found) const {
    uint32_t node = 0;
    for (size_t length = 0; length < text.size();) {
      node = child(node, static_cast<uint8_t>(text[length]));
      if (node == kNone) return;
      ++length;
      const uint32_t value = nodes_[node].value;
      if (value == kNone) continue;
      if (value & kTail) {
        const std::string_view rest = tail(value, length);
        if (text.substr(length, rest.size()) == rest) found(value & ~kTail, length + rest.size());
        return;
      }
      found(value, length);
    }
  }

  uint32_t find(std::string_view piece) const;  // its index, or kNone
  size_t size() const { return size_; }

 private:
  // A child that leads to one piece only is a leaf: the piece's other bytes, its tail, are compared
  // in the table. The children of a node lie side by side, ordered by their bytes, up to those of
  // the next node.
  struct Node {
    uint32_t children;
    uint32_t value;
  };
  static constexpr uint32_t kTail = 0x80000000;

  struct Builder;

  std::string_view tail(uint32_t value, size_t length) const {
    return (*pieces_)[value & ~kTail].substr(prefix_ + length);
  }

  // Compares eight labels at once: the lowest byte of `same` that is zero is the first that equals.
  uint32_t child(uint32_t node, uint8_t byte) const {
    if (node == 0) return roots_[byte];
    constexpr uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;
    const uint32_t end = nodes_[node + 1].children;
    for (uint32_t at = nodes_[node].children; at < end; at += 8) {
      const uint64_t same = eight_labels(at) ^ kOnes * byte;
      if (const uint64_t zeros = (same - kOnes) & ~same & kHighs) {
        at += static_cast<uint32_t>(__builtin_ctzll(zeros)) / 8;
        return at < end ? at : kNone;
      }
    }
    return kNone;
  }

  uint64_t eight_labels(uint32_t at) const {
    uint64_t labels = 0;
    std::memcpy(&labels, labels_.data() + at, 8);
    return labels;
  }

  const PieceTable* pieces_ = nullptr;
  size_t prefix_ = 0;
  size_t size_ = 0;
  uint32_t empty_ = kNone;  // index of the empty piece
  std::vector<Node> nodes_;
  std::vector<uint8_t> labels_;  // by node, and eight more to be read
  std::vector<uint32_t> roots_ = std::vector<uint32_t>(256, kNone);
};

}  // namespace m3e
