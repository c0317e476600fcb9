// SPDX-License-Identifier: Apache-2.0
// The normalizers, by what they read from a tokenizer.json. read_normalizer puts them together.
#pragma once

#include <memory>
#include <string>

#include "normalizer.h"
#include "rewrite.h"

namespace m3e {

using NormalizerPtr = std::unique_ptr<Normalizer>;

NormalizerPtr read_bert_normalizer(const Json& described);
NormalizerPtr read_precompiled(const Json& described);
NormalizerPtr read_replace(const Json& described);

// Throws Error(format) if a text of `before` bytes has become one of `after` that no writing system
// explains: a tokenizer.json may multiply a text again and again.
void check_growth(size_t before, size_t after);

}  // namespace m3e
