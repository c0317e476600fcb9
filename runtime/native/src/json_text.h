// SPDX-License-Identifier: Apache-2.0
// Reads JSON text value by value, without a tree: for large members such as a vocabulary. It
// accepts what the crate serde_json accepts, and reads numbers as that crate does, to the last bit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace m3e {

struct JsonNumber {
  double value;
  bool natural;    // written as a whole number in 0 .. 2^64 - 1
  uint64_t whole;  // its value then
};

class JsonText {
 public:
  // `deepest` limits how deep arrays and objects nest. Every method throws Error(format) if the
  // text is not what it reads.
  explicit JsonText(std::string_view text, int deepest = 127)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), deepest_(deepest) {}

  // Calls member(key) for each; member must read the value. `key` ends with the next string.
  template <class Member>
  void object(Member member) {
    enter('{', "an object");
    if (!accept('}')) {
      do {
        const std::string_view key = string();
        expect(':');
        member(key);
      } while (accept(','));
      expect('}');
    }
    ++deepest_;
  }

  // Calls element() for each; element must read it.
  template <class Element>
  void array(Element element) {
    enter('[', "an array");
    if (!accept(']')) {
      do {
        element();
      } while (accept(','));
      expect(']');
    }
    ++deepest_;
  }

  char peek();  // the first character of what comes next
  bool accept(char wanted);
  void expect(char wanted);
  bool accept_null();
  std::string_view string();  // decoded, UTF-8; valid until the next string is read
  JsonNumber number();
  bool boolean();
  std::string_view skip();  // any value; its text
  void end();               // nothing but spaces may follow

  [[noreturn]] void fail(const char* why) const;

 private:
  void enter(char bracket, const char* name);
  void skip_spaces();
  bool accept_word(std::string_view word);
  std::string_view escaped_string(const char* begin);
  void escape();
  char32_t code();
  char32_t hexadecimal();
  char next();

  const char* begin_;
  const char* at_;
  const char* end_;
  int deepest_;
  std::string decoded_;
};

// The number at `at`, before `end`; moves `at` behind it. Returns false if there is none, or if it
// is too large for a double.
bool read_json_number(const char*& at, const char* end, JsonNumber& number);

}  // namespace m3e
