// SPDX-License-Identifier: Apache-2.0
// What a round of the fuzzer reads: a mutated file, and texts.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace m3e::fuzz {

// The same numbers on every machine.
class Chance {
 public:
  Chance(uint64_t seed, uint64_t round);
  size_t below(size_t count) { return count ? engine_() % count : 0; }
  size_t between(size_t least, size_t most) { return least + below(most - least + 1); }
  bool one_in(size_t count) { return below(count) == 0; }
  template <class Items>
  auto& of(Items& items) {
    return items[below(items.size())];
  }

 private:
  std::mt19937_64 engine_;
};

// A valid file, and where its values are.
class Sample {
 public:
  explicit Sample(std::string json);
  const std::string& json() const { return json_; }
  bool empty() const { return by_depth_.empty(); }

  struct Value {
    size_t begin, end;
  };
  // Every depth is as likely, so that a vocabulary is not all that is ever chosen.
  Value any(Chance& chance) const;
  std::string_view text(Value value) const {
    return std::string_view(json_).substr(value.begin, value.end - value.begin);
  }

 private:
  size_t read(size_t at, size_t depth);

  std::string json_;
  std::vector<std::vector<Value>> by_depth_;
};

// A tokenizer.json of parts that the engine knows, and a manifest.json.
std::string assemble_tokenizer(Chance& chance);
std::string manifest(Chance& chance);

// `sample` with some values replaced, or with some bytes changed, or both, or neither. `donor`
// gives values.
std::string mutate(const Sample& sample, const Sample& donor, Chance& chance);

// Valid UTF-8 or not; some of the text is taken from `file`.
std::string make_text(std::string_view file, Chance& chance);

}  // namespace m3e::fuzz
