// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers that look at the kind of single characters.
#pragma once

#include "pre_tokenizer.h"
#include "split.h"

namespace m3e {

// BertPreTokenizer: words without spaces between them, each punctuation character alone.
class BertSplit : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override;
};

// Whitespace: runs of word characters, and runs of what is neither that nor space.
class WordSplit : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override;
};

class WhitespaceSplit : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override;
};

class PunctuationSplit : public PreTokenizer {
 public:
  explicit PunctuationSplit(const Json& described);
  void apply(Pieces& pieces) const override;

 private:
  SplitBehavior behavior_;
};

class DigitSplit : public PreTokenizer {
 public:
  explicit DigitSplit(const Json& described);
  void apply(Pieces& pieces) const override;

 private:
  SplitBehavior behavior_;
};

class DelimiterSplit : public PreTokenizer {
 public:
  explicit DelimiterSplit(const Json& described);
  void apply(Pieces& pieces) const override;

 private:
  char32_t delimiter_;
};

// The member of that name, which is one character as a string.
char32_t read_character(const Json& described, std::string_view key);

}  // namespace m3e
