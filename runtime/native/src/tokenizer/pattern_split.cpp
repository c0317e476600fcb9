// SPDX-License-Identifier: Apache-2.0
#include "pattern_split.h"

#include "error.h"

namespace m3e {
namespace {

RegexMatch read_regex(const std::string& expression) {
  if (const RegexMatch found = find_regex(expression)) return found;
  throw Error(
      ErrorKind::unsupported,
      "the pre-tokenizer Split has a regular expression that is not implemented: " + expression);
}

void add(Spans& spans, size_t& unmatched, size_t begin, size_t end) {
  if (unmatched < begin) spans.push_back({unmatched, begin, false});
  spans.push_back({begin, end, true});
  unmatched = end;
}

void add_rest(Spans& spans, size_t unmatched, size_t end) {
  if (unmatched < end) spans.push_back({unmatched, end, false});
}

}  // namespace

PatternSplit::PatternSplit(const Json& described)
    : behavior_(split_behavior(described.at("behavior").string())),
      invert_(described.at("invert").boolean()) {
  const Json& pattern = described.at("pattern");
  if (const Json* expression = pattern.find("Regex")) {
    regex_ = read_regex(expression->string());
    return;
  }
  literal_ = pattern.at("String").string();
  if (literal_.empty()) {
    throw Error(ErrorKind::unsupported, "the pre-tokenizer Split has an empty pattern");
  }
}

void PatternSplit::find_literals(std::string_view text, Spans& spans) const {
  size_t unmatched = 0;
  for (size_t at = text.find(literal_); at != text.npos; at = text.find(literal_, unmatched)) {
    add(spans, unmatched, at, at + literal_.size());
  }
  add_rest(spans, unmatched, text.size());
}

void PatternSplit::find_regex_matches(std::string_view text, Spans& spans) const {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  size_t unmatched = 0;
  for (const char* at = begin; at < end;) {
    const char* behind = regex_(at, end);
    if (behind) {
      add(spans, unmatched, static_cast<size_t>(at - begin), static_cast<size_t>(behind - begin));
      at = behind;
    } else {
      unicode::next(at);
    }
  }
  add_rest(spans, unmatched, text.size());
}

void PatternSplit::find(std::string_view text, Spans& spans) const {
  if (regex_) {
    find_regex_matches(text, spans);
  } else {
    find_literals(text, spans);
  }
  if (!invert_) return;
  for (Span& span : spans) span.match = !span.match;
}

void PatternSplit::apply(Pieces& pieces) const {
  replace_by_parts(pieces, [&](std::string_view text, Spans& spans) {
    find(text, spans);
    apply_behavior(behavior_, spans);
  });
}

}  // namespace m3e
