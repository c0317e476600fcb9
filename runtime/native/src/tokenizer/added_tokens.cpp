// SPDX-License-Identifier: Apache-2.0
#include "added_tokens.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "error.h"
#include "unicode.h"

namespace m3e {
namespace {

std::vector<std::string> contents(const std::vector<AddedTokenSet::Token>& tokens) {
  std::vector<std::string> all;
  for (const auto& token : tokens) all.push_back(token.content);
  return all;
}

// Begin of the last character of `text`, which is not empty.
const char* last_character(std::string_view text) {
  const char* at = text.data() + text.size() - 1;
  while ((static_cast<unsigned char>(*at) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  const char* last = last_character(text);
  return unicode::is_word(unicode::next(last));
}

bool starts_with_word(std::string_view text) {
  const char* first = text.data();
  return !text.empty() && unicode::is_word(unicode::next(first));
}

size_t without_spaces_at_end(std::string_view text) {
  while (!text.empty()) {
    const char* last = last_character(text);
    const size_t begin = static_cast<size_t>(last - text.data());
    if (!unicode::regex_is_space(unicode::next(last))) break;
    text = text.substr(0, begin);
  }
  return text.size();
}

size_t spaces_at_start(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char* behind = at;
    if (!unicode::regex_is_space(unicode::next(behind))) break;
    at = behind;
  }
  return static_cast<size_t>(at - text.data());
}

bool is_single_word(std::string_view text, size_t begin, size_t end) {
  return !ends_with_word(text.substr(0, begin)) && !starts_with_word(text.substr(end));
}

}  // namespace

AddedTokenSet::AddedTokenSet(std::vector<Token> tokens)
    : tokens_(std::move(tokens)), trie_(contents(tokens_)) {}

void AddedTokenSet::split(std::string_view text, std::vector<Segment>& segments) const {
  size_t done = 0;
  TokenTrie::Found found{};
  for (size_t from = 0; trie_.find(text, from, found); from = found.end) {
    const Token& token = tokens_[found.value];
    if (token.single_word && !is_single_word(text, found.begin, found.end)) continue;
    size_t begin = found.begin, end = found.end;
    if (token.strips_left) begin = std::max(without_spaces_at_end(text.substr(0, begin)), done);
    if (token.strips_right) end += spaces_at_start(text.substr(end));
    if (done < begin) segments.push_back({done, begin, -1});
    segments.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({done, text.size(), -1});
}

namespace {

struct Described {
  AddedTokenSet::Token token;
  bool normalized;
  bool special;
};

Described read_token(const Json& json) {
  (void)json.at("id").integer();
  // Member by member: GCC 12 frees the content twice if a later member of a nested braced list
  // throws.
  Described read{};
  read.token.content = json.at("content").string();
  read.token.single_word = json.at("single_word").boolean();
  read.token.strips_left = json.at("lstrip").boolean();
  read.token.strips_right = json.at("rstrip").boolean();
  read.normalized = json.at("normalized").boolean();
  read.special = json.at("special").boolean();
  return read;
}

// Gives out ids as the tokens are read.
class Ids {
 public:
  explicit Ids(const TokenModel& model)
      : model_(model), next_(static_cast<int32_t>(model.size())) {}

  int32_t of(const std::string& content) {
    if (const auto given = given_.find(content); given != given_.end()) return given->second;
    const std::optional<int32_t> known = model_.id_of(content);
    return given_.emplace(content, known ? *known : next_++).first->second;
  }

 private:
  const TokenModel& model_;
  int32_t next_;
  std::unordered_map<std::string, int32_t> given_;
};

std::string normalized_content(const std::string& content, const Normalizer* normalizer) {
  std::string text = content;
  if (normalizer) normalizer->apply(text);
  if (text.empty()) {
    throw Error(ErrorKind::unsupported,
                "nothing is left of the added token \"" + content + "\" after normalization");
  }
  return text;
}

}  // namespace

AddedTokens read_added_tokens(const Json& described, const TokenModel& model,
                              const Normalizer* normalizer) {
  Ids ids(model);
  std::map<int32_t, Described> by_id;  // the last token of an id counts
  for (const Json& json : described.array()) {
    Described read = read_token(json);
    if (read.token.content.empty()) continue;
    read.token.id = ids.of(read.token.content);
    by_id[read.token.id] = std::move(read);
  }
  AddedTokens added;
  std::vector<AddedTokenSet::Token> raw, normalized;
  for (auto& [id, read] : by_id) {
    if (read.normalized) read.token.content = normalized_content(read.token.content, normalizer);
    if (read.special) added.special.insert(id);
    (read.normalized ? normalized : raw).push_back(std::move(read.token));
  }
  added.raw = AddedTokenSet(std::move(raw));
  added.normalized = AddedTokenSet(std::move(normalized));
  if (!by_id.empty()) added.largest_id = by_id.rbegin()->first;
  return added;
}

}  // namespace m3e
