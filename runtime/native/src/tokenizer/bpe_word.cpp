// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/bpe_word.h"

#include <algorithm>

#include "error.h"

namespace m3e {
namespace {

// The lowest rank first, then the leftmost.
constexpr auto kComesLater = [](const auto& one, const auto& other) {
  return one.rank != other.rank ? one.rank > other.rank : one.at > other.at;
};

}  // namespace

void BpeWord::add(int32_t id) {
  if (tokens_.size() >= 0x7FFFFFFF) throw Error(ErrorKind::argument, "a word of 2^31 characters");
  const auto at = static_cast<int32_t>(tokens_.size());
  if (at) tokens_[at - 1].after = at;
  tokens_.push_back({id, at - 1, kNowhere, false});
}

void BpeWord::offer(const BpeMerges& merges, int32_t left, int32_t right) {
  if (left == kNowhere || right == kNowhere) return;
  const BpeMerge* merge = merges.find(tokens_[left].id, tokens_[right].id);
  if (!merge) return;
  queue_.push_back({merge->rank, left, merge->id});
  std::push_heap(queue_.begin(), queue_.end(), kComesLater);
}

void BpeWord::join(int32_t at, int32_t id) {
  Token& left = tokens_[at];
  Token& right = tokens_[left.after];
  left.id = id;
  left.after = right.after;
  right.is_merged = true;
  if (left.after != kNowhere) tokens_[left.after].before = at;
}

void BpeWord::merge(const BpeMerges& merges) {
  for (size_t i = 1; i < tokens_.size(); ++i) {
    offer(merges, static_cast<int32_t>(i - 1), static_cast<int32_t>(i));
  }
  while (!queue_.empty()) {
    const Candidate best = *queue_.begin();
    std::pop_heap(queue_.begin(), queue_.end(), kComesLater);
    queue_.pop_back();
    const Token& left = tokens_[best.at];
    if (left.is_merged || left.after == kNowhere) continue;
    // One of the pair may have been merged meanwhile. Like the crate, compare what becomes of it.
    const BpeMerge* merge = merges.find(left.id, tokens_[left.after].id);
    if (!merge || merge->id != best.id) continue;
    join(best.at, best.id);
    offer(merges, left.before, best.at);
    offer(merges, best.at, left.after);
  }
}

void BpeWord::append_to(std::vector<int32_t>& ids, size_t most) {
  if (tokens_.empty()) return;
  for (int32_t at = 0; at != kNowhere && ids.size() < most; at = tokens_[at].after) {
    ids.push_back(tokens_[at].id);
  }
}

}  // namespace m3e
