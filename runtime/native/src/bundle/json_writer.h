// SPDX-License-Identifier: Apache-2.0
// Writes JSON.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace m3e {

class JsonWriter {
 public:
  JsonWriter& open(char bracket);  // '{' or '['
  JsonWriter& close(char bracket);
  JsonWriter& key(const std::string& name);  // of the value that comes next

  JsonWriter& value(const std::string& text);
  JsonWriter& value(const char* text) { return value(std::string(text)); }
  JsonWriter& value(int64_t number);
  JsonWriter& value(int32_t number) { return value(static_cast<int64_t>(number)); }
  JsonWriter& value(double number);  // null if it is not finite
  JsonWriter& value(bool flag);
  JsonWriter& null();
  JsonWriter& value(const std::map<std::string, std::string>& texts);

  const std::string& text() const { return text_; }

 private:
  JsonWriter& put(const std::string& text);
  void quote(const std::string& text);

  std::string text_;
  bool first_ = true;  // whether the next value is the first one behind a bracket or a key
};

}  // namespace m3e
