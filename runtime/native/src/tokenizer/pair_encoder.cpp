// SPDX-License-Identifier: Apache-2.0
#include "pair_encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "error.h"
#include "unicode.h"

namespace m3e {

PairLengths longest_first(PairLengths given, size_t room) {
  if (given.first <= room && given.second <= room - given.first) return given;
  size_t shorter = std::min(given.first, given.second);
  size_t longer = room - std::min(shorter, room);
  if (shorter > longer) {  // both are cut, and the longer one keeps the odd token
    shorter = room / 2;
    longer = room - shorter;
  }
  return given.first > given.second ? PairLengths{longer, shorter} : PairLengths{shorter, longer};
}

namespace {

const PairTemplate& supported(const PairTemplate& pair) {
  if (!pair.unsupported.empty()) throw Error(ErrorKind::unsupported, pair.unsupported);
  return pair;
}

}  // namespace

PairEncoder::PairEncoder(const Tokenizer& tokenizer, int64_t most, bool count)
    : tokenizer_(tokenizer),
      template_(supported(tokenizer.pair_template())),
      room_(room_for_text(most, template_.special_tokens())),
      count_(count) {}

int64_t PairEncoder::encode(std::string_view first, std::string_view second,
                            std::vector<int32_t>& ids, std::vector<int32_t>& types) {
  if (!first_.is_read || first_.text != first) read(first, "first", first_);
  read(second, "second", second_);
  // Which of two texts is the longer one matters where both are beyond the limit.
  if (room_ % 2 && first_.ids.size() > room_ && second_.ids.size() > room_) {
    read_whole(first_);
    read_whole(second_);
  }
  const PairLengths given{first_.ids.size(), second_.ids.size()};
  const PairLengths kept = longest_first(given, room_);
  append(kept, ids, types);
  const size_t cut = given.first - kept.first + given.second - kept.second;
  return static_cast<int64_t>(count_ ? cut : std::min<size_t>(cut, 1));
}

void PairEncoder::read(std::string_view text, const char* name, Text& to) const {
  to.is_read = false;
  if (!unicode::is_utf8(text)) {
    throw Error(ErrorKind::argument, "the " + std::string(name) + " text is not valid UTF-8");
  }
  to.text = text;
  to.ids.clear();
  to.is_whole = count_ || room_ == SIZE_MAX;
  tokenizer_.append_text(text, to.is_whole ? SIZE_MAX : room_ + 1, to.ids);
  to.is_read = true;
}

void PairEncoder::read_whole(Text& text) const {
  if (text.is_whole) return;
  text.ids.clear();
  text.is_read = false;
  tokenizer_.append_text(text.text, SIZE_MAX, text.ids);
  text.is_whole = text.is_read = true;
}

void PairEncoder::append(PairLengths kept, std::vector<int32_t>& ids,
                         std::vector<int32_t>& types) const {
  for (const PairPiece& piece : template_.pieces) {
    const bool is_first = piece.kind == PairPiece::Kind::first;
    const bool is_special = piece.kind == PairPiece::Kind::special;
    const std::vector<int32_t>& from = is_special ? piece.ids : is_first ? first_.ids : second_.ids;
    const size_t count = is_special ? from.size() : is_first ? kept.first : kept.second;
    ids.insert(ids.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
    types.insert(types.end(), count, piece.type);
  }
}

}  // namespace m3e
