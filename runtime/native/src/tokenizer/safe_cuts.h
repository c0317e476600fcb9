// SPDX-License-Identifier: Apache-2.0
// Where a text can be cut so that its parts have the tokens of the whole: a long text of which few
// tokens are wanted need not be normalized to its end.
#pragma once

#include <cstddef>
#include <string_view>

#include "json.h"
#include "normalizer.h"

namespace m3e {

class SafeCuts {
 public:
  SafeCuts() = default;
  // `described_*` are the parts of a tokenizer.json, or null; `normalizer` may be null.
  SafeCuts(const Json& described_normalizer, const Normalizer* normalizer,
           const Json& described_pre_tokenizer);

  // The first cut at `from` or behind it; the size of `text` if there is none.
  size_t next(std::string_view text, size_t from) const;

 private:
  bool at_spaces_ = false;        // before a space between two letters or digits of ASCII
  bool between_chinese_ = false;  // between two Chinese characters
};

}  // namespace m3e
