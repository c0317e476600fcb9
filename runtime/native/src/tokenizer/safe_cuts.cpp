// SPDX-License-Identifier: Apache-2.0
#include "safe_cuts.h"

#include <string>

#include "json_steps.h"
#include "regex_pattern.h"

namespace m3e {
namespace {

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool any_of(const std::string& type, std::initializer_list<const char*> types) {
  for (const char* each : types) {
    if (type == each) return true;
  }
  return false;
}

// Whether a replacement cannot reach across a single space.
bool is_local_replace(const Json& replace) {
  const Json& pattern = replace.at("pattern");
  if (const Json* text = pattern.find("String")) {
    return text->string().find(' ') == std::string::npos;
  }
  return pattern.text("Regex", "") == " {2,}";
}

// Whether the step looks at single characters and what combines with them.
bool is_local(const Json& normalizer) {
  const std::string& type = step_type(normalizer);
  if (type == "Replace") return is_local_replace(normalizer);
  return any_of(type, {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled",
                       "StripAccents"});
}

// Whether plain characters with single spaces between them stay that: a table of characters may say
// anything.
bool keeps_plain_words(const Normalizer& normalizer) {
  std::string text;
  for (int c = 0; c < 128; ++c) {
    if (is_plain(static_cast<char>(c))) text.append({static_cast<char>(c), ' '});
  }
  text.pop_back();
  const size_t before = text.size();
  normalizer.apply(text);
  if (text.size() != before) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i % 2 ? text[i] != ' ' : !is_plain(text[i])) return false;
  }
  return true;
}

bool removes_spaces(const std::string& type) {
  return any_of(type, {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"});
}

bool splits_words(const Json& step) {
  const Json* expression = step.at("pattern").find("Regex");
  return expression && splits_before_spaces(expression->string()) &&
         step.at("behavior").string() == "Isolated";
}

// Whether a piece always ends before a space between plain characters.
bool splits_before_space(const Json& step) {
  const std::string& type = step_type(step);
  if (type == "Metaspace") return step.flag("split", true);
  if (type == "ByteLevel") return step.flag("use_regex", true);
  return removes_spaces(type) || (type == "Split" && splits_words(step));
}

// The first step that may split elsewhere than at punctuation and digits; null if there is none.
const Json* first_split(const JsonSteps& pre_tokenizer) {
  for (const Json* step : pre_tokenizer) {
    if (!any_of(step_type(*step), {"Punctuation", "Digits"})) return step;
  }
  return nullptr;
}

// U+4E00 to U+9FFF, which nothing combines with; `at` is the begin of a character.
bool is_chinese(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  if (at + 3 > text.size() || byte(0) < 0xE4 || byte(0) > 0xE9) return false;
  return byte(0) != 0xE4 || byte(1) >= 0xB8;
}

}  // namespace

SafeCuts::SafeCuts(const Json& described_normalizer, const Normalizer* normalizer,
                   const Json& described_pre_tokenizer) {
  const JsonSteps before = normalizer_steps(described_normalizer);
  for (const Json* step : before) {
    if (!is_local(*step)) return;
  }
  if (normalizer && !keeps_plain_words(*normalizer)) return;
  const JsonSteps steps = pre_tokenizer_steps(described_pre_tokenizer);
  const Json* split = first_split(steps);
  at_spaces_ = split && splits_before_space(*split);
  between_chinese_ = at_spaces_ && removes_spaces(step_type(*split)) && before.size() == 1 &&
                     step_type(*before[0]) == "BertNormalizer" &&
                     before[0]->flag("handle_chinese_chars", true);
}

size_t SafeCuts::next(std::string_view text, size_t from) const {
  if (!at_spaces_) return text.size();
  for (size_t at = from; at + 1 < text.size(); ++at) {
    if (text[at] == ' ' && at && is_plain(text[at - 1]) && is_plain(text[at + 1])) return at;
    if (between_chinese_ && at >= 3 && is_chinese(text, at) && is_chinese(text, at - 3)) return at;
  }
  return text.size();
}

}  // namespace m3e
