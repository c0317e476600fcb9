// SPDX-License-Identifier: Apache-2.0
// Finds strings of a set in a text, the leftmost first, and of those the longest.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace m3e {

class TokenTrie {
 public:
  struct Found {
    size_t begin;
    size_t end;
    size_t value;  // index in the list that the trie was made of
  };

  TokenTrie() = default;
  // No string may be empty. Of equal strings the first is found.
  explicit TokenTrie(const std::vector<std::string>& strings);

  bool empty() const { return nodes_.empty(); }
  // The next one that begins at `from` or behind it. Returns false if there is none.
  bool find(std::string_view text, size_t from, Found& found) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  using Sorted = std::vector<std::pair<std::string_view, uint32_t>>;

  struct Node {
    uint32_t first_edge = 0;
    uint32_t edges = 0;
    uint32_t value = kNone;
  };
  struct Edge {
    uint8_t byte;
    uint32_t node;
  };

  void build(const Sorted& strings);
  uint32_t child(uint32_t node, uint8_t byte) const;
  bool longest_at(std::string_view text, size_t at, Found& found) const;
  size_t next_start(std::string_view text, size_t from) const;

  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::array<uint32_t, 256> roots_{};  // nodes of the first byte; 0 for none
  int only_start_ = -1;                // the first byte if all strings share it
};

}  // namespace m3e
