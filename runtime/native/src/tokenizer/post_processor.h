// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "json.h"

namespace m3e {

// The special tokens that a post-processor puts around one text.
struct SpecialTokens {
  std::vector<int32_t> before;
  std::vector<int32_t> after;

  size_t size() const { return before.size() + after.size(); }
};

// Reads the member "post_processor" of a tokenizer.json. Errors as read_normalizer.
SpecialTokens read_post_processor(const Json& described);

}  // namespace m3e
