// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pre_tokenizer.h"

namespace m3e {

// Writes spaces as another character, "▁", and splits in front of it.
class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const Json& described);
  void apply(Pieces& pieces) const override;

  // Whether it treats the beginning of the text otherwise.
  bool first_only() const { return prepend_ == Prepend::first; }

 private:
  enum class Prepend { first, never, always };
  static Prepend read_prepend(const Json& described);
  bool prepends(std::string_view text, bool starts_text) const;
  void append(std::string_view text, bool starts_text, Pieces& to) const;

  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

}  // namespace m3e
