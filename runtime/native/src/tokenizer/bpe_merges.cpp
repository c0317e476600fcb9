// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/bpe_merges.h"

#include <limits>

#include "error.h"
#include "json_text.h"

namespace m3e {

class BpeMerges::Reader {
 public:
  struct Pair {
    uint64_t key;
    int32_t id;
  };

  Reader(const TokenIds& tokens, std::string_view prefix) : tokens_(tokens), prefix_(prefix) {}

  std::vector<Pair> read(std::string_view text) {
    JsonText json(text);
    bool are_strings = false, are_pairs = false;
    json.array([&] {
      const bool is_string = json.peek() == '"';
      (is_string ? are_strings : are_pairs) = true;
      if (are_strings && are_pairs) json.fail("merges are strings or pairs, not both");
      is_string ? read_string(json.string()) : read_pair(json);
    });
    if (pairs_.size() > std::numeric_limits<int32_t>::max()) refuse("more than 2^31 merges");
    return std::move(pairs_);
  }

 private:
  void read_string(std::string_view merge) {
    constexpr std::string_view kHeader = "#version";  // the first line of a merges.txt
    if (merge.substr(0, kHeader.size()) == kHeader) return;
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
      refuse("a merge of the model is not two tokens with one space between");
    }
    add(merge.substr(0, space), merge.substr(space + 1));
  }

  void read_pair(JsonText& json) {
    json.expect('[');
    const std::string left(json.string());
    json.expect(',');
    const std::string right(json.string());
    json.expect(']');
    add(left, right);
  }

  void add(std::string_view left, std::string_view right) {
    const int32_t left_id = id_of(left), right_id = id_of(right);
    if (right.size() < prefix_.size()) {
      refuse("a merge of the model has a second token without the continuing_subword_prefix");
    }
    joined_.assign(left);
    joined_.append(right.substr(prefix_.size()));
    pairs_.push_back({key_of(left_id, right_id), id_of(joined_)});
  }

  int32_t id_of(std::string_view token) const {
    const std::optional<int32_t> id = tokens_.find(token);
    if (!id) refuse("the model merges \"" + std::string(token) + "\", which its vocabulary lacks");
    return *id;
  }

  const TokenIds& tokens_;
  std::string_view prefix_;
  std::string joined_;
  std::vector<Pair> pairs_;
};

BpeMerges::BpeMerges(std::string_view json, const TokenIds& tokens, std::string_view prefix) {
  const std::vector<Reader::Pair> pairs = Reader(tokens, prefix).read(json);
  size_t capacity = 16;
  while (capacity < 2 * pairs.size()) capacity *= 2;
  slots_.resize(capacity);
  mask_ = capacity - 1;
  for (uint32_t rank = 0; rank < pairs.size(); ++rank) {
    insert(pairs[rank].key, {rank, pairs[rank].id});
  }
}

// Of equal pairs the last counts.
void BpeMerges::insert(uint64_t key, BpeMerge merge) {
  size_t at = slot_of(key);
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask_;
  slots_[at] = {key, merge};
}

}  // namespace m3e
