// SPDX-License-Identifier: Apache-2.0
#include "token_trie.h"

#include <algorithm>
#include <cstring>

namespace m3e {

TokenTrie::TokenTrie(const std::vector<std::string>& strings) {
  if (strings.empty()) return;
  Sorted sorted;
  sorted.reserve(strings.size());
  for (const std::string& string : strings) {
    sorted.emplace_back(string, static_cast<uint32_t>(sorted.size()));
  }
  std::sort(sorted.begin(), sorted.end());
  build(sorted);
  int starts = 0;
  for (uint32_t i = 0; i < nodes_[0].edges; ++i) {
    const Edge& edge = edges_[nodes_[0].first_edge + i];
    roots_[edge.byte] = edge.node;
    only_start_ = edge.byte;
    ++starts;
  }
  if (starts != 1) only_start_ = -1;
}

// Level by level: the children of a node are next to each other, sorted.
void TokenTrie::build(const Sorted& strings) {
  struct Range {
    size_t begin;
    size_t end;
    size_t depth;
  };
  std::vector<Range> ranges{{0, strings.size(), 0}};
  nodes_.emplace_back();
  for (size_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    for (; begin < end && strings[begin].first.size() == depth; ++begin) {
      if (nodes_[node].value == kNone) nodes_[node].value = strings[begin].second;
    }
    nodes_[node].first_edge = static_cast<uint32_t>(edges_.size());
    while (begin < end) {
      const char byte = strings[begin].first[depth];
      size_t behind = begin;
      while (behind < end && strings[behind].first[depth] == byte) ++behind;
      edges_.push_back({static_cast<uint8_t>(byte), static_cast<uint32_t>(nodes_.size())});
      ++nodes_[node].edges;
      nodes_.emplace_back();
      ranges.push_back({begin, behind, depth + 1});
      begin = behind;
    }
  }
}

uint32_t TokenTrie::child(uint32_t node, uint8_t byte) const {
  const Edge* const begin = edges_.data() + nodes_[node].first_edge;
  const Edge* const end = begin + nodes_[node].edges;
  const Edge* const found = std::lower_bound(
      begin, end, byte, [](const Edge& edge, uint8_t wanted) { return edge.byte < wanted; });
  return found != end && found->byte == byte ? found->node : kNone;
}

bool TokenTrie::longest_at(std::string_view text, size_t at, Found& found) const {
  bool any = false;
  uint32_t node = roots_[static_cast<uint8_t>(text[at])];
  for (size_t end = at + 1;; ++end) {
    if (nodes_[node].value != kNone) {
      found = {at, end, nodes_[node].value};
      any = true;
    }
    if (end == text.size()) return any;
    node = child(node, static_cast<uint8_t>(text[end]));
    if (node == kNone) return any;
  }
}

size_t TokenTrie::next_start(std::string_view text, size_t from) const {
  if (only_start_ >= 0)
    return std::min(text.find(static_cast<char>(only_start_), from), text.size());
  while (from < text.size() && !roots_[static_cast<uint8_t>(text[from])]) ++from;
  return from;
}

bool TokenTrie::find(std::string_view text, size_t from, Found& found) const {
  if (empty()) return false;
  for (size_t at = next_start(text, from); at < text.size(); at = next_start(text, at + 1)) {
    if (longest_at(text, at, found)) return true;
  }
  return false;
}

}  // namespace m3e
