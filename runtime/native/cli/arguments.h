// SPDX-License-Identifier: Apache-2.0
// Command-line arguments: options by name, and what remains.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace m3e_cli {

struct Option {
  const char* name;   // "--prompt"
  const char* value;  // "TEXT", or null if it takes none
  const char* help;
};

struct Usage {
  const char* name;         // "embed"
  const char* arguments;    // "BUNDLE [FILE]"
  const char* description;  // one or several sentences
  std::vector<Option> options;
  const char* examples;  // lines, indented
  size_t least, most;    // number of arguments that are not options
};

class Arguments {
 public:
  // Throws Failure(kUsage) that says what is wrong.
  Arguments(const Usage& usage, const std::vector<std::string>& given);

  bool has(const std::string& name) const { return options_.count(name) != 0; }
  std::string text(const std::string& name, const std::string& absent = "") const;
  const char* text_or_null(const std::string& name) const;
  int32_t number(const std::string& name, int32_t absent, int32_t least, int32_t most) const;
  // The value of an option that takes one of several words.
  std::string word(const std::string& name, const std::vector<std::string>& known) const;

  const std::vector<std::string>& rest() const { return rest_; }

 private:
  void take(const Usage& usage, const std::vector<std::string>& given, size_t& at);

  std::map<std::string, std::string> options_;
  std::vector<std::string> rest_;
};

// The arguments of main() in UTF-8, without the program's name.
std::vector<std::string> utf8_arguments(int argc, char** argv);

std::string help_of(const Usage& usage);

}  // namespace m3e_cli
