// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include <cmath>

#include "error.h"
#include "json_text.h"
#include "tokenizer/unicode.h"

namespace m3e {
namespace {

constexpr int kDeepest = 64;
constexpr double kLargestInteger = 9007199254740992.0;  // 2^53: above, doubles skip integers

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json document() {
    if (!unicode::is_utf8(text_)) fail("it is not UTF-8");
    Json value = parse(0);
    skip_spaces();
    if (at_ != text_.size()) fail("something follows the value");
    return value;
  }

 private:
  Json parse(int depth) {
    if (depth > kDeepest) fail("it is nested too deeply");
    skip_spaces();
    Json value;
    switch (peek()) {
      case '{':
        parse_object(value, depth);
        break;
      case '[':
        parse_array(value, depth);
        break;
      case '"':
        value.kind_ = Json::Kind::string;
        value.string_ = parse_string();
        break;
      case 't':
      case 'f':
        value.kind_ = Json::Kind::boolean;
        value.boolean_ = peek() == 't';
        expect_word(value.boolean_ ? "true" : "false");
        break;
      case 'n':
        expect_word("null");
        break;
      default:
        value.kind_ = Json::Kind::number;
        value.number_ = parse_number();
    }
    return value;
  }

  void parse_object(Json& value, int depth) {
    value.kind_ = Json::Kind::object;
    ++at_;
    if (accept('}')) return;
    do {
      skip_spaces();
      std::string key = parse_string();
      if (!accept(':')) fail("':' expected");
      value.object_.emplace_back(std::move(key), parse(depth + 1));
    } while (accept(','));
    if (!accept('}')) fail("',' or '}' expected");
  }

  void parse_array(Json& value, int depth) {
    value.kind_ = Json::Kind::array;
    ++at_;
    if (accept(']')) return;
    do {
      value.array_.push_back(parse(depth + 1));
    } while (accept(','));
    if (!accept(']')) fail("',' or ']' expected");
  }

  std::string parse_string() {
    if (peek() != '"') fail("a string expected");
    ++at_;
    std::string out;
    for (;;) {
      const size_t begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      out.append(text_, begin, at_ - begin);
      const char c = peek();
      if (c == '"') break;
      if (c != '\\') fail("a control character in a string");
      ++at_;
      parse_escape(out);
    }
    ++at_;
    return out;
  }

  void parse_escape(std::string& out) {
    const char c = peek();
    ++at_;
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const size_t index = kNames.find(c);
    if (index != std::string_view::npos) {
      out.push_back(kMeant[index]);
    } else if (c == 'u') {
      unicode::append(out, parse_code());
    } else {
      fail("an unknown escape");
    }
  }

  char32_t parse_code() {
    const char32_t first = parse_hex();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || text_.substr(at_, 2) != "\\u") fail("half of a surrogate pair");
    at_ += 2;
    const char32_t second = parse_hex();
    if (second < 0xDC00 || second > 0xDFFF) fail("half of a surrogate pair");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  char32_t parse_hex() {
    char32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("four hexadecimal digits expected");
      value = value * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    return value;
  }

  // Not strtod, which follows the locale.
  double parse_number() {
    const char* at = text_.data() + at_;
    JsonNumber number;
    if (!read_json_number(at, text_.data() + text_.size(), number)) fail("a value expected");
    at_ = static_cast<size_t>(at - text_.data());
    return number.value;
  }

  void expect_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("a value expected");
    at_ += word.size();
  }

  char peek() const {
    if (at_ == text_.size()) fail("it ends too early");
    return text_[at_];
  }

  bool accept(char wanted) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void skip_spaces() {
    while (at_ < text_.size() &&
           std::string_view(" \n\r\t").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
  }

  [[noreturn]] void fail(const char* why) const {
    refuse("not valid JSON at byte " + std::to_string(at_) + ": " + why);
  }

  std::string_view text_;
  size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

void Json::require(Kind kind, const char* name) const {
  if (kind_ != kind) refuse(std::string("the JSON has another type where ") + name + " is due");
}

bool Json::boolean() const {
  require(Kind::boolean, "true or false");
  return boolean_;
}

double Json::number() const {
  require(Kind::number, "a number");
  return number_;
}

int64_t Json::integer() const {
  require(Kind::number, "a whole number");
  if (number_ != std::floor(number_) || std::fabs(number_) > kLargestInteger) {
    refuse("the JSON has a fraction or a huge number where a whole number is due");
  }
  return static_cast<int64_t>(number_);
}

const std::string& Json::string() const {
  require(Kind::string, "a string");
  return string_;
}

const std::vector<Json>& Json::array() const {
  require(Kind::array, "an array");
  return array_;
}

const std::vector<Json::Member>& Json::object() const {
  require(Kind::object, "an object");
  return object_;
}

const Json* Json::find(std::string_view key) const {
  const std::vector<Member>& members = object();
  for (auto member = members.rbegin(); member != members.rend(); ++member) {
    if (member->first == key) return member->second.is_null() ? nullptr : &member->second;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (!found) refuse("the JSON lacks the member \"" + std::string(key) + "\"");
  return *found;
}

bool Json::flag(std::string_view key, bool absent) const {
  const Json* found = find(key);
  return found ? found->boolean() : absent;
}

std::string Json::text(std::string_view key, const std::string& absent) const {
  const Json* found = find(key);
  return found ? found->string() : absent;
}

}  // namespace m3e
