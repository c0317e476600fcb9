// SPDX-License-Identifier: Apache-2.0
#include "metadata.h"

#include <cstdlib>

#include "error.h"
#include "json_text.h"

namespace m3e {

int metadata_number(const std::string& key, const std::string& text, int smallest, int largest) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || value < smallest || value > largest) {
    refuse("the metadata says " + key + " = '" + text.substr(0, 80) + "', not a number from " +
           std::to_string(smallest) + " to " + std::to_string(largest));
  }
  return static_cast<int>(value);
}

int metadata_count(const SafeTensors& file, const std::string& key, int largest) {
  return metadata_number(key, file.metadata(key), 1, largest);
}

float metadata_epsilon(const std::string& text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  JsonNumber number;
  if (!read_json_number(at, end, number) || at != end || !(number.value >= 0)) {
    refuse("the metadata says norm_eps = '" + text + "'");
  }
  return static_cast<float>(number.value);
}

bool metadata_choice(const SafeTensors& file, const std::string& key, const char* no,
                     const char* yes) {
  const std::string& value = file.metadata(key);
  if (value != no && value != yes) {
    refuse("the metadata says " + key + " = '" + value + "'; known: " + no + ", " + yes);
  }
  return value == yes;
}

bool metadata_says(const SafeTensors& file, const std::string& key, const char* value) {
  if (!file.says(key)) return false;
  const std::string& found = file.metadata(key);
  if (found != value) {
    refuse("the metadata says " + key + " = '" + found.substr(0, 80) + "'; known: " + value);
  }
  return true;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char each : text) {
    if (each == separator) {
      parts.emplace_back();
    } else {
      parts.back() += each;
    }
  }
  return parts;
}

}  // namespace m3e
