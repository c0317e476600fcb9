// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "json.h"
#include "tokenizer/pair_template.h"

namespace m3e {

// The special tokens that a post-processor puts around one text.
struct SpecialTokens {
  std::vector<int32_t> before;
  std::vector<int32_t> after;

  size_t size() const { return before.size() + after.size(); }
};

struct PostProcessor {
  SpecialTokens single;
  std::optional<PairTemplate> pair;  // without a value, it leaves pairs as they are
};

// Reads the member "post_processor" of a tokenizer.json. Errors as read_normalizer. What is wrong
// or unknown in how pairs are made does not matter to single texts: PairTemplate::unsupported tells
// it.
PostProcessor read_post_processor(const Json& described);

}  // namespace m3e
