// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "error.h"
#include "normalizers.h"

namespace m3e {
namespace {

// Bytes of the character at `at` if it belongs to a set, else 0.
using Set = size_t (*)(const char* at, const char* end);

size_t space(const char* at, const char* end) { return at < end && *at == ' '; }
size_t line_feed(const char* at, const char* end) { return at < end && *at == '\n'; }
size_t line_break(const char* at, const char* end) {
  return at < end && (*at == '\n' || *at == '\r' || *at == '\t');
}
size_t whitespace(const char* at, const char* end) {
  if (at == end) return 0;
  const char* const begin = at;
  return unicode::regex_is_space(unicode::next(at)) ? at - begin : 0;
}
size_t lower_block(const char* at, const char* end) {
  return std::string_view(at, end - at).substr(0, 3) == "\u2581" ? 3 : 0;
}

enum class Where { anywhere, at_start, at_end, whole_line };

// A run of characters of one set: the longest from where it begins, but at most `most` of them.
struct Run {
  Set set;
  size_t least;
  size_t most;
  Where where;
  Set followed_by;
};

constexpr size_t kAny = static_cast<size_t>(-1);

// The regular expressions that transformers writes into a tokenizer.json, each one or two runs.
struct Known {
  const char* pattern;
  Run runs[2];
};
constexpr Known kKnown[] = {
    {" {2,}", {{space, 2, kAny, Where::anywhere, nullptr}}},
    {"\\s+", {{whitespace, 1, kAny, Where::anywhere, nullptr}}},
    {"\\n", {{line_feed, 1, 1, Where::anywhere, nullptr}}},
    {"[\\n\\r\\t]", {{line_break, 1, 1, Where::anywhere, nullptr}}},
    {"\\s{2,}|[\\n\\r\\t]",
     {{whitespace, 2, kAny, Where::anywhere, nullptr},
      {line_break, 1, 1, Where::anywhere, nullptr}}},
    {"\\A +| +\\z",
     {{space, 1, kAny, Where::at_start, nullptr}, {space, 1, kAny, Where::at_end, nullptr}}},
    {"\\A\u2581", {{lower_block, 1, 1, Where::at_start, nullptr}}},
    {" +\u2581", {{space, 1, kAny, Where::anywhere, lower_block}}},
    {"^\u2581+$", {{lower_block, 1, kAny, Where::whole_line, nullptr}}},
};

struct Reach {
  const char* end;
  size_t characters;
};

// The longest run from `at`.
Reach reach_of(const Run& run, const char* at, const char* end) {
  size_t count = 0;
  for (; count < run.most; ++count) {
    const size_t length = run.set(at, end);
    if (!length) break;
    at += length;
  }
  return {at, count};
}

const char* behind_character(const char* at, const char* end) {
  do {
    ++at;
  } while (at < end && (*at & 0xC0) == 0x80);
  return at;
}

class Regex {
 public:
  Regex(const Known& known, std::string_view text)
      : known_(known), begin_(text.data()), end_(begin_ + text.size()) {}

  // The first match from `at`; both ends are the text's end if there is none.
  std::pair<const char*, const char*> find(const char* at) const {
    while (at < end_) {
      const char* next = end_;
      for (const Run& run : known_.runs) {
        if (!run.set) break;
        const Reach reach = reach_of(run, at, end_);
        if (const size_t length = match(run, at, reach)) return {at, at + length};
        next = std::min(next, reach.end);
      }
      // A run that does not match where it begins does not match later, either.
      at = std::max(next, behind_character(at, end_));
    }
    return {end_, end_};
  }

 private:
  size_t match(const Run& run, const char* begin, Reach reach) const {
    if (reach.characters < run.least || !stands_right(run, begin, reach.end)) return 0;
    if (!run.followed_by) return reach.end - begin;
    const size_t length = run.followed_by(reach.end, end_);
    return length ? reach.end - begin + length : 0;
  }

  bool stands_right(const Run& run, const char* begin, const char* end) const {
    switch (run.where) {
      case Where::at_start:
        return begin == begin_;
      case Where::at_end:
        return end == end_;
      case Where::whole_line:
        return (begin == begin_ || begin[-1] == '\n') && (end == end_ || *end == '\n');
      default:
        return true;
    }
  }

  const Known& known_;
  const char* const begin_;
  const char* const end_;
};

// Replaces what `find(at)` finds, a pair of ends, from the text's begin to its end.
template <class Find>
void replace_each(std::string& text, const std::string& content, Find find) {
  std::string out;
  const char *at = text.data(), *const end = at + text.size();
  for (;;) {
    const auto [from, until] = find(at);
    if (from == end) break;
    out.append(at, from);
    out += content;
    check_growth(text.size(), out.size());
    at = until;
  }
  if (at == text.data()) return;
  out.append(at, end);
  text.swap(out);
}

class ReplaceRegex : public Normalizer {
 public:
  ReplaceRegex(const Known& known, std::string content)
      : known_(known), content_(std::move(content)) {}

  void apply(std::string& text) const override {
    const Regex regex(known_, text);
    replace_each(text, content_, [&](const char* at) { return regex.find(at); });
  }

 private:
  const Known& known_;
  const std::string content_;
};

class ReplaceText : public Normalizer {
 public:
  ReplaceText(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(std::string& text) const override {
    const char* const begin = text.data();
    replace_each(text, content_, [&](const char* at) {
      const size_t found = text.find(pattern_, at - begin);
      const size_t from = std::min(found, text.size());
      return std::make_pair(begin + from, begin + std::min(from + pattern_.size(), text.size()));
    });
  }

 private:
  const std::string pattern_;
  const std::string content_;
};

[[noreturn]] void refuse_pattern(const std::string& pattern) {
  throw Error(ErrorKind::unsupported, "normalizer Replace with the pattern " + pattern);
}

NormalizerPtr replace_regex(const std::string& pattern, const std::string& content) {
  for (const Known& known : kKnown) {
    if (pattern == known.pattern) return std::make_unique<ReplaceRegex>(known, content);
  }
  refuse_pattern("\"" + pattern + "\" (a regular expression)");
}

}  // namespace

NormalizerPtr read_replace(const Json& described) {
  const std::string& content = described.at("content").string();
  const Json& pattern = described.at("pattern");
  if (const Json* regex = pattern.find("Regex")) return replace_regex(regex->string(), content);
  const std::string& text = pattern.at("String").string();
  // The crate finds the empty text between all characters.
  if (text.empty()) refuse_pattern("\"\"");
  return std::make_unique<ReplaceText>(text, content);
}

}  // namespace m3e
