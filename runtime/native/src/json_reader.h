// SPDX-License-Identifier: Apache-2.0
// Reads the JSON of a safetensors header: objects, arrays, strings and non-negative integers.
#pragma once

#include <cstdint>
#include <string>

namespace m3e {

class JsonReader {
 public:
  JsonReader(const char* begin, const char* end) : at_(begin), end_(end) {}

  // Calls member(key) for each; member must read the value.
  template <class Member>
  void object(Member member) {
    expect('{');
    if (accept('}')) return;
    do {
      const std::string key = string();
      expect(':');
      member(key);
    } while (accept(','));
    expect('}');
  }

  // Calls element() for each; element must read it.
  template <class Element>
  void array(Element element) {
    expect('[');
    if (accept(']')) return;
    do {
      element();
    } while (accept(','));
    expect(']');
  }

  std::string string();
  int64_t integer();
  void end();  // nothing but spaces may follow

 private:
  void skip_spaces();
  bool accept(char wanted);
  void expect(char wanted);
  char next();
  uint32_t hex4();
  void escape(std::string& to);

  const char* at_;
  const char* end_;
};

}  // namespace m3e
