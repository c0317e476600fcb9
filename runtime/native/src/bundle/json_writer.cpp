// SPDX-License-Identifier: Apache-2.0
#include "json_writer.h"

#include <cmath>
#include <cstdio>

namespace m3e {

JsonWriter& JsonWriter::put(const std::string& text) {
  if (!first_) text_ += ',';
  first_ = false;
  text_ += text;
  return *this;
}

JsonWriter& JsonWriter::open(char bracket) {
  put(std::string(1, bracket));
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  text_ += bracket;
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::key(const std::string& name) {
  value(name);
  text_ += ':';
  first_ = true;
  return *this;
}

void JsonWriter::quote(const std::string& text) {
  text_ += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      text_ += escape;
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

JsonWriter& JsonWriter::value(const std::string& text) {
  put("");
  quote(text);
  return *this;
}

JsonWriter& JsonWriter::value(int64_t number) { return put(std::to_string(number)); }

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", number);
  for (char& c : text) {
    if (c == ',') c = '.';  // a locale's decimal sign
  }
  return put(text);
}

JsonWriter& JsonWriter::value(bool flag) { return put(flag ? "true" : "false"); }
JsonWriter& JsonWriter::null() { return put("null"); }

JsonWriter& JsonWriter::value(const std::map<std::string, std::string>& texts) {
  open('{');
  for (const auto& [name, text] : texts) key(name).value(text);
  return close('}');
}

}  // namespace m3e
