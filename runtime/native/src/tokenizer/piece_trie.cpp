#include "tokenizer/piece_trie.h"

#include <algorithm>

namespace m3e {
namespace {

struct Key {
  uint64_t head;  // the first eight bytes, most significant first
  uint32_t index;
};

uint64_t head_of(std::string_view piece) {
  uint64_t head = 0;
  for (size_t i = 0; i < 8; ++i) {
    head = head << 8 | (i < piece.size() ? static_cast<uint8_t>(piece[i]) : 0);
  }
  return head;
}

// Orders by the byte at `shift`, and keeps the order of equals.
void sort_by_byte(const std::vector<Key>& from, std::vector<Key>& to, int shift) {
  size_t begins[257] = {};
  const auto byte = [&](const Key& key) { return key.head >> shift & 0xFF; };
  for (const Key& key : from) ++begins[byte(key) + 1];
  for (int i = 0; i < 256; ++i) begins[i + 1] += begins[i];
  for (const Key& key : from) to[begins[byte(key)]++] = key;
}

void sort_by_head(std::vector<Key>& keys) {
  std::vector<Key> other(keys.size());
  for (int shift = 0; shift < 64; shift += 8) {
    sort_by_byte(keys, other, shift);
    keys.swap(other);
  }
}

}  // namespace

struct PieceTrie::Builder {
  struct Span {  // of `sorted`: the pieces below a node
    uint32_t begin, end;
  };

  explicit Builder(PieceTrie& trie) : trie(trie) {}

  void collect(std::string_view prefix) {
    const PieceTable& pieces = *trie.pieces_;
    keys.reserve(prefix.empty() ? pieces.size() : 0);
    for (size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view piece = pieces[i];
      if (piece.size() < prefix.size() || piece.substr(0, prefix.size()) != prefix) continue;
      if (piece.size() == prefix.size() && !prefix.empty()) continue;
      keys.push_back({head_of(piece.substr(prefix.size())), static_cast<uint32_t>(i)});
    }
  }

  // Of equal pieces the last remains.
  void sort() {
    sort_by_head(keys);
    for (auto begin = keys.begin(); begin != keys.end();) {
      const auto end =
          std::find_if(begin, keys.end(), [&](const Key& key) { return key.head != begin->head; });
      if (end - begin > 1) sort_alike(begin, end);
      begin = end;
    }
    sorted.reserve(keys.size());
    indices.reserve(keys.size());
    for (const Key& key : keys) {
      const std::string_view piece = text(key);
      if (!sorted.empty() && sorted.back() == piece) {
        indices.back() = key.index;
        continue;
      }
      sorted.push_back(piece);
      indices.push_back(key.index);
    }
  }

  std::string_view text(const Key& key) const {
    return (*trie.pieces_)[key.index].substr(trie.prefix_);
  }

  void sort_alike(std::vector<Key>::iterator begin, std::vector<Key>::iterator end) {
    std::sort(begin, end, [&](const Key& left, const Key& right) {
      const int order = text(left).compare(text(right));
      return order ? order < 0 : left.index < right.index;
    });
  }

  // Level by level: the nodes of a level have seen as many bytes, `depth`.
  void build() {
    auto all = Span{0, static_cast<uint32_t>(sorted.size())};
    if (!sorted.empty() && sorted[0].empty()) trie.empty_ = indices[all.begin++];
    add_node(0, kNone, all);
    size_t node = 0;
    for (size_t depth = 0; node < spans.size(); ++depth) {
      for (const size_t level_end = spans.size(); node < level_end; ++node) expand(node, depth);
    }
    trie.nodes_.push_back({static_cast<uint32_t>(spans.size()), kNone});
    for (uint32_t at = 1; at < trie.nodes_[1].children; ++at) trie.roots_[trie.labels_[at]] = at;
  }

  void add_node(uint8_t label, uint32_t value, Span span) {
    trie.labels_.push_back(label);
    trie.nodes_.push_back({0, value});
    spans.push_back(span);
  }

  void expand(size_t node, size_t depth) {
    trie.nodes_[node].children = static_cast<uint32_t>(spans.size());
    const Span span = spans[node];
    for (uint32_t begin = span.begin; begin < span.end;) {
      const char label = sorted[begin][depth];
      uint32_t end = begin + 1;
      while (end < span.end && sorted[end][depth] == label) ++end;
      add_child(static_cast<uint8_t>(label), depth + 1, {begin, end});
      begin = end;
    }
  }

  void add_child(uint8_t label, size_t depth, Span span) {
    const bool is_piece = sorted[span.begin].size() == depth;
    const bool is_leaf = span.end - span.begin == 1;
    uint32_t value = kNone;
    if (is_piece) value = indices[span.begin++];
    if (is_leaf && !is_piece) value = indices[span.begin++] | kTail;
    add_node(label, value, span);
  }

  PieceTrie& trie;
  std::vector<Key> keys;
  std::vector<std::string_view> sorted;
  std::vector<uint32_t> indices;  // of `sorted`, in the table
  std::vector<Span> spans;        // by node
};

PieceTrie::PieceTrie(const PieceTable& pieces, std::string_view prefix)
    : pieces_(&pieces), prefix_(prefix.size()) {
  Builder builder(*this);
  builder.collect(prefix);
  builder.sort();
  size_ = builder.sorted.size();
  builder.build();
  nodes_.shrink_to_fit();
  labels_.shrink_to_fit();
}

uint32_t PieceTrie::find(std::string_view piece) const {
  if (piece.empty()) return empty_;
  uint32_t best = kNone;
  each_prefix(piece, [&](uint32_t index, size_t length) {
    if (length == piece.size()) best = index;
  });
  return best;
}

}  // namespace m3e
