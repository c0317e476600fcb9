// SPDX-License-Identifier: Apache-2.0
// Members of a JSON object, read by name. What nobody asks for is refused, and so is a name that is
// there twice.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "json.h"

namespace m3e {

class Fields {
 public:
  // `where` names the object in messages, such as "artifacts[0]".
  Fields(const Json& object, const std::string& where);

  // Each throws Error(format) if the member is absent or of another type.
  const Json& value(const std::string& name);
  std::string text(const std::string& name);
  std::string word(const std::string& name, std::initializer_list<const char*> known);
  int64_t integer(const std::string& name);
  double number(const std::string& name);
  bool flag(const std::string& name);
  std::map<std::string, std::string> texts(const std::string& name);  // an object of strings
  const std::vector<Json>& array(const std::string& name);
  std::vector<std::string> list(const std::string& name);  // an array of strings

  bool has(const std::string& name) const { return members_.count(name) != 0; }
  // Whether the member is there and not null. A null counts as read.
  bool given(const std::string& name);
  std::optional<std::string> optional_text(const std::string& name);

  std::string path(const std::string& name) const;
  void end() const;  // Throws Error(format) if a member was not read.

 private:
  [[noreturn]] void expected(const std::string& name, const char* what) const;

  std::string where_;
  std::map<std::string, const Json*> members_;
  std::map<std::string, const Json*> unread_;
};

}  // namespace m3e
