// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/vocabulary.h"

#include <limits>

#include "error.h"

namespace m3e {
namespace {

constexpr uint64_t kLargestId = std::numeric_limits<int32_t>::max() - 1;  // so that a size fits

int32_t read_id(JsonText& json) {
  const JsonNumber id = json.number();
  if (!id.natural || id.whole > std::numeric_limits<uint32_t>::max()) {
    json.fail("the id of a token is no whole number of 32 bits");
  }
  if (id.whole > kLargestId) {
    throw Error(ErrorKind::unsupported, "a token has an id above " + std::to_string(kLargestId));
  }
  return static_cast<int32_t>(id.whole);
}

}  // namespace

void Vocabulary::read(JsonText& json) {
  *this = Vocabulary();
  if (json.peek() == '[') {
    read_scores(json);
  } else {
    read_ids(json);
  }
  if (pieces.size() > kLargestId) refuse("a vocabulary of more than 2^31 tokens");
  pieces.finish();
  ids.shrink_to_fit();
  scores.shrink_to_fit();
}

void Vocabulary::read_ids(JsonText& json) {
  kind = Kind::ids;
  json.object([&](std::string_view piece) {
    pieces.add(piece);
    ids.push_back(read_id(json));
  });
}

void Vocabulary::read_scores(JsonText& json) {
  kind = Kind::scores;
  json.array([&] {
    json.expect('[');
    pieces.add(json.string());
    json.expect(',');
    scores.push_back(json.number().value);
    json.expect(']');
  });
}

}  // namespace m3e
