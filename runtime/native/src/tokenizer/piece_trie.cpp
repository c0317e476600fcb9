// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/piece_trie.h"

#include <algorithm>

namespace m3e {
namespace {

constexpr size_t kHead = 8;

// A piece. Its first bytes are at hand, for the table's memory is far away.
struct Key {
  uint64_t head;  // eight bytes, the first most significant, zeros behind the end
  uint32_t size;
  uint32_t index;  // in the table
};

// Eight bytes of `piece` from `begin` on.
uint64_t head_of(std::string_view piece, size_t begin) {
  uint64_t head = 0;
  for (size_t i = begin; i < begin + kHead; ++i) {
    head = head << 8 | (i < piece.size() ? static_cast<uint8_t>(piece[i]) : 0);
  }
  return head;
}

size_t shared_length(std::string_view one, std::string_view other) {
  const size_t most = std::min(one.size(), other.size());
  size_t length = 0;
  while (length < most && one[length] == other[length]) ++length;
  return length;
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
  struct Span {  // of `keys`: the pieces below a node
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
      keys.push_back({head_of(piece, prefix.size()),
                      static_cast<uint32_t>(piece.size() - prefix.size()),
                      static_cast<uint32_t>(i)});
    }
  }

  void sort() {
    sort_by_head(keys);
    std::vector<Key> alike;
    for (auto begin = keys.begin(); begin != keys.end();) {
      const auto end =
          std::find_if(begin, keys.end(), [&](const Key& key) { return key.head != begin->head; });
      if (end - begin > 1) {
        alike.assign(begin, end);
        sort_alike(alike);
        for (Key& key : alike) key.head = begin->head;
        std::copy(alike.begin(), alike.end(), begin);
      }
      begin = end;
    }
  }

  // Orders keys whose heads are equal by what follows, and then as they came.
  void sort_alike(std::vector<Key>& alike) const {
    for (Key& key : alike) key.head = key.size > kHead ? head_of(text(key), kHead) : 0;
    std::sort(alike.begin(), alike.end(), [&](const Key& left, const Key& right) {
      if (left.head != right.head) return left.head < right.head;
      const int order = text(left).compare(text(right));
      return order ? order < 0 : left.index < right.index;
    });
  }

  // Of equal pieces the last remains.
  void drop_repeated() {
    shared.reserve(keys.size());
    size_t count = 0;
    for (const Key& key : keys) {
      const size_t length = count ? shared_with(keys[count - 1], key) : 0;
      if (count && length == key.size && length == keys[count - 1].size) {
        keys[count - 1].index = key.index;
        continue;
      }
      keys[count++] = key;
      shared.push_back(static_cast<uint32_t>(length));
    }
    keys.resize(count);
  }

  // How many bytes both begin with.
  size_t shared_with(const Key& one, const Key& other) const {
    const size_t most = std::min(one.size, other.size);
    if (const uint64_t difference = one.head ^ other.head) {
      return std::min<size_t>(most, static_cast<size_t>(__builtin_clzll(difference)) / 8);
    }
    return most <= kHead ? most : shared_length(text(one), text(other));
  }

  std::string_view text(const Key& key) const {
    return (*trie.pieces_)[key.index].substr(trie.prefix_);
  }

  uint8_t byte(const Key& key, size_t at) const {
    if (at < kHead) return static_cast<uint8_t>(key.head >> (8 * (kHead - 1 - at)));
    return static_cast<uint8_t>(text(key)[at]);
  }

  // Level by level: the nodes of a level have seen as many bytes, `depth`.
  void build() {
    auto all = Span{0, static_cast<uint32_t>(keys.size())};
    if (!keys.empty() && keys[0].size == 0) trie.empty_ = keys[all.begin++].index;
    reserve(2 * keys.size());  // about as many as a real vocabulary needs
    add_node(0, kNone, all);
    size_t node = 0;
    for (size_t depth = 0; node < spans.size(); ++depth) {
      for (const size_t level_end = spans.size(); node < level_end; ++node) expand(node, depth);
    }
    trie.nodes_.push_back({static_cast<uint32_t>(spans.size()), kNone});
    for (uint32_t at = 1; at < trie.nodes_[1].children; ++at) trie.roots_[trie.labels_[at]] = at;
  }

  void reserve(size_t nodes) {
    trie.labels_.reserve(nodes);
    trie.nodes_.reserve(nodes);
    spans.reserve(nodes);
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
      uint32_t end = begin + 1;
      while (end < span.end && shared[end] > depth) ++end;
      add_child(byte(keys[begin], depth), depth + 1, {begin, end});
      begin = end;
    }
  }

  void add_child(uint8_t label, size_t depth, Span span) {
    const bool is_piece = keys[span.begin].size == depth;
    const bool is_leaf = span.end - span.begin == 1;
    uint32_t value = kNone;
    if (is_piece) value = keys[span.begin++].index;
    if (is_leaf && !is_piece) value = keys[span.begin++].index | kTail;
    add_node(label, value, span);
  }

  PieceTrie& trie;
  std::vector<Key> keys;
  std::vector<uint32_t> shared;  // how many bytes each key begins with like the one before it
  std::vector<Span> spans;       // by node
};

PieceTrie::PieceTrie(const PieceTable& pieces, std::string_view prefix)
    : pieces_(&pieces), prefix_(prefix.size()) {
  Builder builder(*this);
  builder.collect(prefix);
  builder.sort();
  builder.drop_repeated();
  size_ = builder.keys.size();
  builder.build();
  labels_.resize(labels_.size() + 8);
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
