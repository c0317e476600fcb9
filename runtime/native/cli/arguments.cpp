// SPDX-License-Identifier: Apache-2.0
#include "arguments.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "failure.h"

namespace m3e_cli {
namespace {

constexpr size_t kHelpColumn = 28;

const Option& find(const Usage& usage, const std::string& name) {
  for (const Option& each : usage.options) {
    if (name == each.name) return each;
  }
  throw Failure("unknown option " + name + "; `m3e " + usage.name + " --help` lists them", kUsage);
}

// A word's help at its column, on a line of its own if the word is long.
std::string help_line(const std::string& word, const std::string& help) {
  std::string line = "  " + word;
  line += line.size() + 2 > kHelpColumn ? "\n" + std::string(kHelpColumn, ' ')
                                        : std::string(kHelpColumn - line.size(), ' ');
  return line + help + "\n";
}

}  // namespace

Arguments::Arguments(const Usage& usage, const std::vector<std::string>& given) {
  bool only_rest = false;
  for (size_t at = 0; at < given.size(); ++at) {
    const std::string& each = given[at];
    if (!only_rest && each == "--") {
      only_rest = true;
    } else if (!only_rest && each.size() > 1 && each[0] == '-') {
      take(usage, given, at);
    } else {
      rest_.push_back(each);
    }
  }
  if (rest_.size() < usage.least || rest_.size() > usage.most) {
    throw Failure("usage: m3e " + std::string(usage.name) + " " + usage.arguments, kUsage);
  }
}

void Arguments::take(const Usage& usage, const std::vector<std::string>& given, size_t& at) {
  const std::string& each = given[at];
  const size_t equals = each.find('=');
  const std::string name = each == "-o" ? "--out" : each.substr(0, equals);
  const Option& option = find(usage, name);
  std::string value;
  if (equals != std::string::npos) {
    if (!option.value) throw Failure(name + " takes no value", kUsage);
    value = each.substr(equals + 1);
  } else if (option.value) {
    if (at + 1 == given.size()) throw Failure(name + " needs " + option.value, kUsage);
    value = given[++at];
  }
  options_[name] = value;
}

std::string Arguments::text(const std::string& name, const std::string& absent) const {
  const auto found = options_.find(name);
  return found == options_.end() ? absent : found->second;
}

const char* Arguments::text_or_null(const std::string& name) const {
  const auto found = options_.find(name);
  return found == options_.end() ? nullptr : found->second.c_str();
}

int32_t Arguments::number(const std::string& name, int32_t absent, int32_t least,
                          int32_t most) const {
  if (!has(name)) return absent;
  const std::string given = text(name);
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(given.c_str(), &end, 10);
  if (given.empty() || *end || errno || value < least || value > most) {
    throw Failure(name + " " + given + ": not a number from " + std::to_string(least) + " to " +
                      std::to_string(most),
                  kUsage);
  }
  return static_cast<int32_t>(value);
}

std::string Arguments::word(const std::string& name, const std::vector<std::string>& known) const {
  const std::string given = text(name, known[0]);
  if (std::find(known.begin(), known.end(), given) != known.end()) return given;
  std::string all;
  for (const std::string& each : known) all += (all.empty() ? "" : ", ") + each;
  throw Failure(name + " " + given + ": use one of " + all, kUsage);
}

std::string help_of(const Usage& usage) {
  std::string text = "usage: m3e " + std::string(usage.name) + " " + usage.arguments + "\n\n" +
                     usage.description + "\n\noptions:\n";
  for (const Option& each : usage.options) {
    const std::string name = each.name == std::string("--out") ? "-o, --out" : each.name;
    text += help_line(name + (each.value ? std::string(" ") + each.value : ""), each.help);
  }
  return text + help_line("--help", "show this text") + "\nexamples:\n" + usage.examples +
         "\nexit codes: 0 ok, 1 failure, 2 usage\n";
}

}  // namespace m3e_cli
