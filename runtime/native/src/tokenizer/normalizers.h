// The normalizers, by what they read from a tokenizer.json. read_normalizer puts them together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "normalizer.h"
#include "unicode.h"

namespace m3e {

using NormalizerPtr = std::unique_ptr<Normalizer>;

NormalizerPtr read_bert_normalizer(const Json& described);
NormalizerPtr read_precompiled(const Json& described);
NormalizerPtr read_replace(const Json& described);

// Throws Error(format) if a text of `before` bytes has become one of `after` that no writing system
// explains: a tokenizer.json may multiply a text again and again.
void check_growth(size_t before, size_t after);

// Rewrites `text`: calls put(character, out) for each character, which appends to `out`.
template <class Put>
void rewrite(std::string& text, Put put) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    put(unicode::next(at), out);
  }
  text.swap(out);
}

}  // namespace m3e
