// SPDX-License-Identifier: Apache-2.0
#include "regex_pattern.h"

#include <array>
#include <cstdint>

#include "unicode.h"

namespace m3e {
namespace {

enum class Kind : uint8_t { letter, number, space, other };

constexpr Kind ascii_kind(int c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return Kind::letter;
  if (c >= '0' && c <= '9') return Kind::number;
  return c == ' ' || (c >= '\t' && c <= '\r') ? Kind::space : Kind::other;
}

constexpr std::array<Kind, 128> ascii_kinds() {
  std::array<Kind, 128> kinds{};
  for (int c = 0; c < 128; ++c) kinds[static_cast<size_t>(c)] = ascii_kind(c);
  return kinds;
}

constexpr std::array<Kind, 128> kAscii = ascii_kinds();

Kind kind_of(char32_t c) {
  if (c < 128) return kAscii[c];
  if (unicode::regex_is_letter(c)) return Kind::letter;
  if (unicode::regex_is_number(c)) return Kind::number;
  return unicode::regex_is_space(c) ? Kind::space : Kind::other;
}

// Moves `at` behind the character.
Kind next_kind(const char*& at) { return kind_of(unicode::next(at)); }

const char* end_of_run(const char* at, const char* end, Kind kind) {
  while (at < end) {
    const char* behind = at;
    if (next_kind(behind) != kind) break;
    at = behind;
  }
  return at;
}

bool is_line_break(char c) { return c == '\r' || c == '\n'; }

const char* skip_line_breaks(const char* at, const char* end) {
  while (at < end && is_line_break(*at)) ++at;
  return at;
}

// \s+(?!\S)|\s+ where a space is: all spaces but the last if something follows them.
const char* match_spaces(const char* at, const char* end) {
  const char* last = at;
  const char* behind = at;
  int count = 0;
  while (behind < end) {
    const char* begin = behind;
    if (next_kind(behind) != Kind::space) return count > 1 ? last : begin;
    last = begin;
    ++count;
  }
  return end;
}

// \s*[\r\n]+ where a space is. Null if there is no line break among the spaces.
const char* match_lines(const char* at, const char* end) {
  const char* found = nullptr;
  while (at < end) {
    const bool line_break = is_line_break(*at);
    if (next_kind(at) != Kind::space) break;
    if (line_break) found = at;
  }
  return found;
}

// 's|'t|'re|'ve|'m|'ll|'d. Null if it does not match.
const char* match_contraction(const char* at, const char* end) {
  if (*at != '\'' || end - at < 2) return nullptr;
  const std::string_view rest(at + 1, static_cast<size_t>(end - at - 1));
  if (std::string_view("stmd").find(rest[0]) != std::string_view::npos) return at + 2;
  const std::string_view two = rest.substr(0, 2);
  return two == "re" || two == "ve" || two == "ll" ? at + 3 : nullptr;
}

// The same in either case. U+017F is a form of s.
const char* match_contraction_any_case(const char* at, const char* end) {
  if (*at != '\'' || end - at < 2) return nullptr;
  const auto lower = [&](int i) { return end - at > i ? static_cast<char>(at[i] | 0x20) : '\0'; };
  if (at[1] == '\xC5' && end - at > 2 && at[2] == '\xBF') return at + 3;
  const char first = lower(1), second = lower(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  const bool two =
      ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
  return two ? at + 3 : nullptr;
}

const char* match_numbers(const char* at, const char* end, int most) {
  for (int i = 0; i < most && at < end; ++i) {
    const char* behind = at;
    if (next_kind(behind) != Kind::number) break;
    at = behind;
  }
  return at;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,most_numbers}|
//  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
const char* match_cl100k(const char* at, const char* end, int most_numbers) {
  if (const char* found = match_contraction_any_case(at, end)) return found;
  const char* behind = at;
  const Kind kind = next_kind(behind);
  if (kind == Kind::letter) return end_of_run(behind, end, kind);
  if (kind == Kind::number) return match_numbers(at, end, most_numbers);
  const char* second = behind;
  const bool has_second = second < end;
  const Kind second_kind = has_second ? next_kind(second) : Kind::space;
  if (second_kind == Kind::letter && !is_line_break(*at))
    return end_of_run(second, end, second_kind);
  if (kind == Kind::other || (*at == ' ' && second_kind == Kind::other)) {
    return skip_line_breaks(end_of_run(behind, end, Kind::other), end);
  }
  const char* lines = match_lines(at, end);
  return lines ? lines : match_spaces(at, end);
}

const char* match_gpt4(const char* at, const char* end) { return match_cl100k(at, end, 3); }
const char* match_qwen2(const char* at, const char* end) { return match_cl100k(at, end, 1); }

const char* match_space_run(const char* at, const char* end) {
  const char* found = end_of_run(at, end, Kind::space);
  return found == at ? nullptr : found;
}

const char* match_one_space(const char* at, const char*) {
  return next_kind(at) == Kind::space ? at : nullptr;
}

struct Known {
  std::string_view expression;
  RegexMatch match;
};

constexpr Known kKnown[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", match_gpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", match_gpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     match_gpt4},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     match_qwen2},
    {R"(\s+)", match_space_run},
    {R"(\s)", match_one_space},
};

}  // namespace

const char* match_gpt2(const char* at, const char* end) {
  if (const char* found = match_contraction(at, end)) return found;
  const char* behind = at;
  const Kind kind = next_kind(behind);
  if (kind != Kind::space) return end_of_run(behind, end, kind);
  if (*at == ' ' && behind < end) {
    const Kind second = next_kind(behind);
    if (second != Kind::space) return end_of_run(behind, end, second);
  }
  return match_spaces(at, end);
}

RegexMatch find_regex(std::string_view expression) {
  for (const Known& known : kKnown) {
    if (known.expression == expression) return known.match;
  }
  return nullptr;
}

bool splits_before_spaces(std::string_view expression) {
  const RegexMatch match = find_regex(expression);
  return match == match_gpt2 || match == match_gpt4 || match == match_qwen2;
}

}  // namespace m3e
