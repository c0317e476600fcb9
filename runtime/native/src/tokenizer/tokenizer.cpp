// SPDX-License-Identifier: Apache-2.0
#include "tokenizer.h"

#include <algorithm>
#include <optional>

#include "added_tokens.h"
#include "error.h"
#include "json.h"
#include "json_text.h"
#include "model.h"
#include "normalizer.h"
#include "post_processor.h"
#include "pre_tokenizer.h"
#include "safe_cuts.h"
#include "text_start.h"
#include "unicode.h"

namespace m3e {
namespace {

// A long text is normalized in parts of at least that, as far as it can be cut: it may be that the
// tokens of its beginning are all that is wanted.
constexpr size_t kPartBytes = 4096;

// The members of the file that matter to the ids of a text.
struct Document {
  std::unique_ptr<TokenModel> model;
  Json added_tokens, normalizer, pre_tokenizer, post_processor;
};

void check_version(const Json& version) {
  if (version.string() == "1.0") return;
  throw Error(ErrorKind::unsupported,
              "tokenizer.json has version \"" + version.string() + "\", not \"1.0\"");
}

void read_member(const std::string& name, Json value, Document& to) {
  if (name == "version") {
    check_version(value);
  } else if (name == "added_tokens") {
    to.added_tokens = std::move(value);
  } else if (name == "normalizer") {
    to.normalizer = std::move(value);
  } else if (name == "pre_tokenizer") {
    to.pre_tokenizer = std::move(value);
  } else if (name == "post_processor") {
    to.post_processor = std::move(value);
  } else if (name != "truncation" && name != "padding" && name != "decoder") {
    throw Error(ErrorKind::unsupported, "tokenizer.json has the unknown member \"" + name + "\"");
  }
}

Document read_document(std::string_view text) {
  Document document;
  JsonText json(text);
  json.object([&](std::string_view key) {
    const std::string name(key);
    if (name == "model") {
      document.model = read_model(json);
    } else {
      read_member(name, Json::parse(json.skip()), document);
    }
  });
  json.end();
  if (!document.model) refuse("tokenizer.json has no model");
  return document;
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(Document document);

  // Appends the ids of `text` without special tokens, at least `most` if it has as many.
  void encode(std::string_view text, size_t most, std::vector<int32_t>& ids) const;

  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<TokenModel> model;
  AddedTokens added;
  SpecialTokens special;
  PairTemplate pair = plain_pair();

 private:
  SafeCuts cuts;

  void encode_raw(std::string_view text, bool starts_text, size_t most,
                  std::vector<int32_t>& ids) const;
  void encode_part(std::string_view text, bool starts_text, size_t most,
                   std::vector<int32_t>& ids) const;
  void encode_normalized(std::string_view text, bool starts_text, size_t most,
                         std::vector<int32_t>& ids) const;
};

Tokenizer::Parts::Parts(Document document) : model(std::move(document.model)) {
  if (!document.normalizer.is_null()) normalizer = read_normalizer(document.normalizer);
  if (!document.pre_tokenizer.is_null()) {
    pre_tokenizer = read_pre_tokenizer(document.pre_tokenizer);
  }
  if (!document.post_processor.is_null()) {
    PostProcessor post_processor = read_post_processor(document.post_processor);
    special = std::move(post_processor.single);
    if (post_processor.pair) pair = std::move(*post_processor.pair);
  }
  if (!document.added_tokens.is_null()) {
    added = read_added_tokens(document.added_tokens, *model, normalizer.get());
  }
  if (added.normalized.empty()) {
    cuts = SafeCuts(document.normalizer, normalizer.get(), document.pre_tokenizer);
  }
  check_text_start(document.normalizer, document.pre_tokenizer, !added.normalized.empty());
}

namespace {

// Calls `encode` for the text between added tokens and appends the ids of those.
template <class Encode>
void encode_segments(const AddedTokenSet& tokens, std::string_view text, bool starts_text,
                     size_t most, std::vector<int32_t>& ids, Encode encode) {
  if (tokens.empty()) return encode(text, starts_text);
  std::vector<Segment> segments;
  tokens.split(text, segments);
  for (const Segment& segment : segments) {
    if (ids.size() >= most) return;
    if (segment.begin >= segment.end) continue;
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      encode(text.substr(segment.begin, segment.end - segment.begin),
             starts_text && segment.begin == 0);
    }
  }
}

}  // namespace

void Tokenizer::Parts::encode(std::string_view text, size_t most, std::vector<int32_t>& ids) const {
  encode_segments(added.raw, text, true, most, ids, [&](std::string_view part, bool starts_text) {
    encode_raw(part, starts_text, most, ids);
  });
}

void Tokenizer::Parts::encode_raw(std::string_view text, bool starts_text, size_t most,
                                  std::vector<int32_t>& ids) const {
  for (size_t begin = 0; begin < text.size() && ids.size() < most;) {
    const size_t end = cuts.next(text, std::min(begin + kPartBytes, text.size()));
    encode_part(text.substr(begin, end - begin), starts_text && begin == 0, most, ids);
    begin = end;
  }
}

void Tokenizer::Parts::encode_part(std::string_view text, bool starts_text, size_t most,
                                   std::vector<int32_t>& ids) const {
  std::string normal(text);
  if (normalizer) normalizer->apply(normal);
  encode_segments(
      added.normalized, normal, starts_text, most, ids,
      [&](std::string_view part, bool starts) { encode_normalized(part, starts, most, ids); });
}

void Tokenizer::Parts::encode_normalized(std::string_view text, bool starts_text, size_t most,
                                         std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  if (!pre_tokenizer) return model->tokenize(text, most, ids);
  Pieces pieces{std::string(text), {{0, text.size(), starts_text}}};
  pre_tokenizer->apply(pieces);
  for (const Pieces::Piece& piece : pieces.pieces) {
    if (ids.size() >= most) return;
    model->tokenize(pieces.view(piece), most, ids);
  }
}

Tokenizer::Tokenizer(std::string_view json) : parts_(new Parts(read_document(json))) {}
Tokenizer::~Tokenizer() = default;

size_t room_for_text(int64_t most, size_t special_tokens) {
  if (most == 0) return SIZE_MAX;
  if (most < static_cast<int64_t>(special_tokens)) {
    throw Error(ErrorKind::argument, "at most " + std::to_string(most) +
                                         " tokens were asked for, and the special tokens alone "
                                         "are " +
                                         std::to_string(special_tokens));
  }
  return static_cast<size_t>(most) - special_tokens;
}

void Tokenizer::append_text(std::string_view text, size_t most, std::vector<int32_t>& ids) const {
  parts_->encode(text, most, ids);
}

const PairTemplate& Tokenizer::pair_template() const { return parts_->pair; }

int64_t Tokenizer::encode(std::string_view text, int64_t most, bool count,
                          std::vector<int32_t>& ids) const {
  if (!unicode::is_utf8(text)) throw Error(ErrorKind::argument, "the text is not valid UTF-8");
  const SpecialTokens& special = parts_->special;
  const size_t limit = room_for_text(most, special.size());
  ids.insert(ids.end(), special.before.begin(), special.before.end());
  const size_t begin = ids.size();
  const bool all = count || limit == SIZE_MAX;
  parts_->encode(text, all ? SIZE_MAX : begin + limit + 1, ids);
  const size_t cut = ids.size() - begin > limit ? ids.size() - begin - limit : 0;
  ids.resize(ids.size() - cut);
  ids.insert(ids.end(), special.after.begin(), special.after.end());
  return static_cast<int64_t>(count ? cut : std::min<size_t>(cut, 1));
}

int32_t Tokenizer::special_tokens() const { return static_cast<int32_t>(parts_->special.size()); }

int64_t Tokenizer::vocabulary_size() const {
  int64_t largest = std::max(parts_->model->largest_id(), parts_->added.largest_id);
  for (const std::vector<int32_t>* ids : {&parts_->special.before, &parts_->special.after}) {
    for (const int32_t id : *ids) largest = std::max<int64_t>(largest, id);
  }
  return largest + 1;
}

bool Tokenizer::is_special(int32_t id) const { return parts_->added.special.count(id) != 0; }

}  // namespace m3e
