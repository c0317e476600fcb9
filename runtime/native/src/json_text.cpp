// SPDX-License-Identifier: Apache-2.0
#include "json_text.h"

#include "error.h"
#include "tokenizer/unicode.h"

namespace m3e {
namespace {

bool ends_plain(char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; }

}  // namespace

void JsonText::fail(const char* why) const {
  refuse("not valid JSON at byte " + std::to_string(at_ - begin_) + ": " + why);
}

void JsonText::skip_spaces() {
  const char* at = at_;
  while (at < end_ && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  at_ = at;
}

char JsonText::peek() {
  skip_spaces();
  if (at_ == end_) fail("it ends too early");
  return *at_;
}

bool JsonText::accept(char wanted) {
  skip_spaces();
  if (at_ == end_ || *at_ != wanted) return false;
  ++at_;
  return true;
}

void JsonText::expect(char wanted) {
  if (peek() != wanted) fail((std::string("'") + wanted + "' expected").c_str());
  ++at_;
}

void JsonText::enter(char bracket, const char* name) {
  if (peek() != bracket) fail((std::string(name) + " expected").c_str());
  if (--deepest_ < 0) fail("it is nested too deeply");
  ++at_;
}

bool JsonText::accept_word(std::string_view word) {
  skip_spaces();
  if (static_cast<size_t>(end_ - at_) < word.size()) return false;
  if (std::string_view(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

bool JsonText::accept_null() { return accept_word("null"); }

bool JsonText::boolean() {
  if (accept_word("true")) return true;
  if (accept_word("false")) return false;
  fail("true or false expected");
}

JsonNumber JsonText::number() {
  skip_spaces();
  JsonNumber number;
  if (!read_json_number(at_, end_, number)) fail("a number expected that fits 64 bits");
  return number;
}

std::string_view JsonText::string() {
  if (peek() != '"') fail("a string expected");
  const char* const begin = ++at_;
  const char* at = begin;
  unsigned char bits = 0;
  while (at < end_ && !ends_plain(*at)) bits |= static_cast<unsigned char>(*at++);
  at_ = at;
  if (at_ < end_ && *at_ == '\\') return escaped_string(begin);
  if (next() != '"') fail("a control character in a string");
  const std::string_view found(begin, static_cast<size_t>(at_ - 1 - begin));
  if (bits >= 0x80 && !unicode::is_utf8(found)) fail("a string is not UTF-8");
  return found;
}

std::string_view JsonText::escaped_string(const char* begin) {
  decoded_.assign(begin, at_);
  for (;;) {
    const char* const plain = at_;
    while (at_ < end_ && !ends_plain(*at_)) ++at_;
    decoded_.append(plain, at_);
    const char c = next();
    if (c == '"') break;
    if (c != '\\') fail("a control character in a string");
    escape();
  }
  if (!unicode::is_utf8(decoded_)) fail("a string is not UTF-8");
  return decoded_;
}

void JsonText::escape() {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
  const char c = next();
  if (const size_t index = kNames.find(c); index != std::string_view::npos) {
    decoded_.push_back(kMeant[index]);
  } else if (c == 'u') {
    unicode::append(decoded_, code());
  } else {
    fail("an unknown escape");
  }
}

char32_t JsonText::code() {
  const char32_t first = hexadecimal();
  if (first < 0xD800 || first > 0xDFFF) return first;
  if (first > 0xDBFF || next() != '\\' || next() != 'u') fail("half of a surrogate pair");
  const char32_t second = hexadecimal();
  if (second < 0xDC00 || second > 0xDFFF) fail("half of a surrogate pair");
  return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
}

char32_t JsonText::hexadecimal() {
  char32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = next();
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) fail("four hexadecimal digits expected");
    value = value * 16 + static_cast<char32_t>(digit);
  }
  return value;
}

char JsonText::next() {
  if (at_ == end_) fail("it ends within a string");
  return *at_++;
}

std::string_view JsonText::skip() {
  const char first = peek();
  const char* const begin = at_;
  if (first == '{') {
    object([this](std::string_view) { skip(); });
  } else if (first == '[') {
    array([this] { skip(); });
  } else if (first == '"') {
    string();
  } else if (first == 't' || first == 'f') {
    boolean();
  } else if (!accept_null()) {
    number();
  }
  return {begin, static_cast<size_t>(at_ - begin)};
}

void JsonText::end() {
  skip_spaces();
  if (at_ != end_) fail("something follows its end");
}

}  // namespace m3e
