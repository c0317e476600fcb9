// SPDX-License-Identifier: Apache-2.0
// A JSON value in memory, for files of any content that are not trusted: nesting is limited, text
// is checked to be UTF-8. Large members (a vocabulary) are better left as text: see json_text.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace m3e {

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };
  using Member = std::pair<std::string, Json>;

  // Parses a whole document. Throws Error(format) that says where and why.
  static Json parse(std::string_view text);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_array() const { return kind_ == Kind::array; }
  bool is_object() const { return kind_ == Kind::object; }

  // Each throws Error(format) if the value is of another kind.
  bool boolean() const;
  double number() const;
  int64_t integer() const;  // also if the number has a fraction or does not fit
  const std::string& string() const;
  const std::vector<Json>& array() const;
  const std::vector<Member>& object() const;

  // Member of an object; the last one of that name. `find` returns null where there is none or it
  // is null, `at` throws Error(format).
  const Json* find(std::string_view key) const;
  const Json& at(std::string_view key) const;
  bool flag(std::string_view key, bool absent) const;
  std::string text(std::string_view key, const std::string& absent) const;

 private:
  friend class JsonParser;
  void require(Kind kind, const char* name) const;

  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;
  std::vector<Json> array_;
  std::vector<Member> object_;
};

}  // namespace m3e
