// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "bundle/manifest.h"
#include "error.h"
#include "tokenizer/pair_encoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace m3e::fuzz {
namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// What `call` gives, or nothing if it throws Error. Any other exception ends the process.
template <class Call>
auto unless_refused(Call call) noexcept -> std::optional<decltype(call())> {
  try {
    return call();
  } catch (const Error& error) {
    require(*error.what() != 0, "an error says something");
    return std::nullopt;
  }
}

struct Encoded {
  std::vector<int32_t> ids;
  int64_t cut;
};

std::optional<Encoded> encode(const Tokenizer& tokenizer, const std::string& text, int64_t most,
                              bool count) {
  return unless_refused([&] {
    Encoded encoded;
    encoded.cut = tokenizer.encode(text, most, count, encoded.ids);
    return encoded;
  });
}

// Number of first items that are the same.
template <class Iterator>
size_t common(Iterator a, Iterator a_end, Iterator b, Iterator b_end) {
  return static_cast<size_t>(std::mismatch(a, a_end, b, b_end).first - a);
}

void check_cut(const Encoded& all, const Encoded& cut, int64_t most, bool count) {
  const int64_t missing = std::max<int64_t>(0, static_cast<int64_t>(all.ids.size()) - most);
  require(cut.cut == (count ? missing : std::min<int64_t>(missing, 1)), "what is cut is counted");
  require(cut.ids.size() + static_cast<size_t>(missing) == all.ids.size(),
          "a cut text has as many tokens as are asked for");
  const size_t first = common(cut.ids.begin(), cut.ids.end(), all.ids.begin(), all.ids.end());
  const size_t last = common(cut.ids.rbegin(), cut.ids.rend(), all.ids.rbegin(), all.ids.rend());
  require(first + last >= cut.ids.size(), "a cut text begins and ends as the whole");
}

void check_text(const Tokenizer& tokenizer, const std::string& text) {
  const std::optional<Encoded> all = encode(tokenizer, text, 0, true);
  require(!all || unicode::is_utf8(text), "a text that is not UTF-8 is refused");
  const auto special = static_cast<int64_t>(tokenizer.special_tokens());
  for (const int64_t more : {0, 1, 7}) {
    for (const bool count : {true, false}) {
      const std::optional<Encoded> cut = encode(tokenizer, text, special + more, count);
      if (!all || special + more == 0) continue;
      require(cut.has_value(), "a text that is accepted whole is accepted cut");
      check_cut(*all, *cut, special + more, count);
    }
  }
  if (!all) return;
  require(all->cut == 0, "nothing is cut without a limit");
  for (const int32_t id : all->ids) {
    require(id >= 0 && id < tokenizer.vocabulary_size(), "ids are below the vocabulary's size");
  }
}

struct EncodedPair {
  std::vector<int32_t> ids, types;
  int64_t cut;
};

std::optional<EncodedPair> encode(const Tokenizer& tokenizer, const std::string& first,
                                  const std::string& second, int64_t most, bool count) {
  return unless_refused([&] {
    EncodedPair pair;
    pair.cut = PairEncoder(tokenizer, most, count).encode(first, second, pair.ids, pair.types);
    return pair;
  });
}

void check_pair(const Tokenizer& tokenizer, const std::string& first, const std::string& second) {
  const std::optional<EncodedPair> all = encode(tokenizer, first, second, 0, true);
  if (!all) return;
  require(all->cut == 0 && all->types.size() == all->ids.size(),
          "every token of a pair has a type");
  const auto special = static_cast<int64_t>(tokenizer.pair_template().special_tokens());
  for (const int64_t most : {special + 1, special + 6, special + 7}) {
    const std::optional<EncodedPair> counted = encode(tokenizer, first, second, most, true);
    const std::optional<EncodedPair> marked = encode(tokenizer, first, second, most, false);
    require(counted && marked, "a pair that is accepted whole is accepted cut");
    require(counted->ids == marked->ids && counted->types == marked->types,
            "counting does not change what is kept");
    require(marked->cut == std::min<int64_t>(counted->cut, 1), "what is cut is marked");
    require(counted->ids.size() + static_cast<size_t>(counted->cut) == all->ids.size() &&
                static_cast<int64_t>(counted->ids.size()) ==
                    std::min(most, static_cast<int64_t>(all->ids.size())),
            "a cut pair has as many tokens as are asked for");
  }
}

}  // namespace

bool check_tokenizer(const std::string& json, const std::vector<std::string>& texts) {
  const auto read = unless_refused([&] { return std::make_unique<Tokenizer>(json); });
  if (!read) return false;
  for (const std::string& text : texts) check_text(**read, text);
  for (size_t i = 1; i < texts.size(); ++i) check_pair(**read, texts[i - 1], texts[i]);
  return true;
}

bool check_manifest(const std::string& json) {
  const auto read = unless_refused([&] { return Manifest::parse(json); });
  if (!read) return false;
  require(!read->artifacts.empty() && !read->entries().empty(), "a manifest has an artifact");
  require(read->output_dimension >= 1 && read->output_dimension <= read->dimension,
          "a manifest's dimensions fit");
  require(read->golden.vectors.size() ==
              read->golden.texts.size() * static_cast<size_t>(read->output_dimension),
          "a golden text has a vector");
  for (const Artifact& each : read->artifacts) {
    require(read->classification ? each.score_fidelity.has_value() : each.fidelity.has_value(),
            "an artifact has the fidelity that fits");
  }
  return true;
}

}  // namespace m3e::fuzz
