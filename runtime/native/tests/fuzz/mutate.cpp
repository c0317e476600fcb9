// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "input.h"

namespace m3e::fuzz {
namespace {

constexpr size_t kLongRun = 1000;

const char* const kValues[] = {"null",
                               "true",
                               "false",
                               "0",
                               "-1",
                               "1",
                               "-0",
                               "0.5",
                               "7",
                               "127",
                               "128",
                               "1e3",
                               "1e308",
                               "1e400",
                               "-1e-400",
                               "2147483647",
                               "2147483648",
                               "-2147483648",
                               "4294967295",
                               "4294967296",
                               "9223372036854775807",
                               "9223372036854775808",
                               "18446744073709551615",
                               "18446744073709551616",
                               "\"\"",
                               "\" \"",
                               "\"a\"",
                               "\"A\"",
                               "\"[UNK]\"",
                               "\"##a\"",
                               "\"\\u0000\"",
                               "\"\\ud83d\\ude00\"",
                               "\"\\ud83d\"",
                               "\"\\uffff\"",
                               "\"e\\u0301\"",
                               "\"\xE2\x96\x81\"",
                               "\"\xC3\"",
                               "\"\xF4\x90\x80\x80\"",
                               "{}",
                               "[]",
                               "[[]]",
                               "[null]",
                               "[\"a\",0]",
                               "[[\"a\",-1.5],[\"b\",-2]]",
                               "{\"a\":0}",
                               "{\"a\":1,\"a\":2}",
                               "{\"a\":0,\"b\":0}",
                               "{\"a\":2147483647}",
                               "\"A\" \"B\"",
                               "",
                               ",",
                               "\"",
                               "{\"Regex\":\"\\\\s+\"}",
                               "{\"String\":\" \"}",
                               "{\"String\":\"\"}"};

std::string nested(Chance& chance) {
  const size_t depth = chance.between(1, 300);
  std::string text;
  const bool closed = chance.one_in(2);
  for (size_t i = 0; i < depth; ++i) text += closed || chance.one_in(2) ? "[" : "{\"type\":";
  text += "0";
  return closed ? text + std::string(depth, ']') : text;
}

std::string new_value(const Sample& donor, Chance& chance) {
  const size_t kind = chance.below(20);
  if (kind == 0) return nested(chance);
  if (kind == 1) return '"' + std::string(chance.between(1, kLongRun), 'a') + '"';
  if (kind < 9 && !donor.empty()) return std::string(donor.text(donor.any(chance)));
  return kValues[chance.below(sizeof(kValues) / sizeof(kValues[0]))];
}

void replace_values(const Sample& sample, const Sample& donor, std::string& json, Chance& chance) {
  std::vector<Sample::Value> values;
  for (size_t i = chance.between(1, 3); i > 0; --i) values.push_back(sample.any(chance));
  // From the end, so that the places of the others stay what they are.
  std::sort(values.begin(), values.end(),
            [](const auto& a, const auto& b) { return a.begin > b.begin; });
  size_t free_until = json.size();
  for (const Sample::Value& value : values) {
    if (value.end > free_until) continue;
    json.replace(value.begin, value.end - value.begin, new_value(donor, chance));
    free_until = value.begin;
  }
}

void change_bytes(std::string& json, Chance& chance) {
  for (size_t i = chance.between(1, 4); i > 0 && !json.empty(); --i) {
    const size_t at = chance.below(json.size());
    const size_t length = std::min(chance.between(1, 16), json.size() - at);
    const std::string piece = json.substr(at, length);
    switch (chance.below(6)) {
      case 0:
        json[at] = static_cast<char>(json[at] ^ (1 << chance.below(8)));
        break;
      case 1:
        json[at] = static_cast<char>(chance.below(256));
        break;
      case 2:
        json.erase(at, length);
        break;
      case 3:
        json.insert(chance.below(json.size()), piece);
        break;
      case 4:
        json.insert(at, 1, "{}[],:\"\\0-e."[chance.below(12)]);
        break;
      default:
        if (chance.one_in(8)) json.resize(at);
    }
  }
}

}  // namespace

Chance::Chance(uint64_t seed, uint64_t round) {
  std::seed_seq both{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                     static_cast<uint32_t>(round), static_cast<uint32_t>(round >> 32)};
  engine_.seed(both);
}

Sample::Sample(std::string json) : json_(std::move(json)) { read(0, 0); }

// Notes the value that begins at `at`, and those in it; returns its end. The file is valid.
size_t Sample::read(size_t at, size_t depth) {
  const auto skip_to_value = [&] {
    while (at < json_.size() && std::string_view(" \n\r\t,:").find(json_[at]) != std::string::npos)
      ++at;
  };
  skip_to_value();
  if (at >= json_.size()) return at;
  const size_t begin = at;
  if (by_depth_.size() <= depth) by_depth_.emplace_back();
  if (json_[at] == '{' || json_[at] == '[') {
    ++at;
    for (skip_to_value(); at < json_.size() && json_[at] != '}' && json_[at] != ']';) {
      at = read(at, depth + 1);
      skip_to_value();
    }
    ++at;
  } else if (json_[at] == '"') {
    for (++at; at < json_.size() && json_[at] != '"'; ++at) at += json_[at] == '\\';
    ++at;
  } else {
    at = std::min(json_.find_first_of(",]} \n\r\t", at), json_.size());
  }
  at = std::min(at, json_.size());
  by_depth_[depth].push_back({begin, at});
  return at;
}

Sample::Value Sample::any(Chance& chance) const { return chance.of(chance.of(by_depth_)); }

std::string mutate(const Sample& sample, const Sample& donor, Chance& chance) {
  std::string json = sample.json();
  const size_t kind = chance.below(10);
  if (kind < 5) replace_values(sample, donor, json, chance);
  if (kind == 4 || kind == 5) change_bytes(json, chance);
  return json;
}

}  // namespace m3e::fuzz
