// SPDX-License-Identifier: Apache-2.0
// Normalizers of a tokenizer.json, as the crate `tokenizers` computes them.
#pragma once

#include <memory>
#include <string>

#include "json.h"

namespace m3e {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Replaces `text`, valid UTF-8, by its normalized form, which is valid UTF-8 too.
  virtual void apply(std::string& text) const = 0;
};

// The normalizer that `described` names. Throws Error(unsupported) that names an unknown component,
// and Error(format) if it is damaged.
std::unique_ptr<Normalizer> read_normalizer(const Json& described);

}  // namespace m3e
