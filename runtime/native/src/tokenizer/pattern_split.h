// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pre_tokenizer.h"
#include "regex_pattern.h"
#include "split.h"

namespace m3e {

// The pre-tokenizer Split, for a string or one of the known regular expressions.
class PatternSplit : public PreTokenizer {
 public:
  explicit PatternSplit(const Json& described);
  void apply(Pieces& pieces) const override;

 private:
  void find(std::string_view text, Spans& spans) const;
  void find_literals(std::string_view text, Spans& spans) const;
  void find_regex_matches(std::string_view text, Spans& spans) const;

  std::string literal_;
  RegexMatch regex_ = nullptr;  // in place of `literal_`
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace m3e
