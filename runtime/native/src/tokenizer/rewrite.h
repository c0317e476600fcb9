// SPDX-License-Identifier: Apache-2.0
// Changes some characters of a text, and copies what is between them as it is.
#pragma once

#include <string>

#include "unicode.h"

namespace m3e::unicode {

// Rewrites `text`: calls put(character, out), which appends to `out`, for each character of which
// changes(character) is true. The others stay.
template <class Changes, class Put>
void rewrite(std::string& text, Changes changes, Put put) {
  std::string out;
  const char *at = text.data(), *const end = at + text.size();
  const char* copied = at;
  while (at < end) {
    const char* const begin = at;
    const char32_t c = next(at);
    if (!changes(c)) continue;
    if (out.empty()) out.reserve(text.size() + text.size() / 2);
    out.append(copied, begin);
    put(c, out);
    copied = at;
  }
  if (copied == text.data()) return;
  out.append(copied, end);
  text.swap(out);
}

// Removes the characters of which removes(character) is true.
template <class Removes>
void remove_if(std::string& text, Removes removes) {
  rewrite(text, removes, [](char32_t, std::string&) {});
}

}  // namespace m3e::unicode
