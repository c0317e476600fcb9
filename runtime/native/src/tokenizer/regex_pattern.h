// SPDX-License-Identifier: Apache-2.0
// The regular expressions of real tokenizers, written by hand.
#pragma once

#include <string_view>

namespace m3e {

// Returns the end of the match that begins at `at`, or null. No expression looks behind `at`.
using RegexMatch = const char* (*)(const char* at, const char* end);

// The function for the text of an expression. Null if it is not one of those.
RegexMatch find_regex(std::string_view expression);

// Whether a match of that expression always ends before a space between two ASCII letters or
// digits.
bool splits_before_spaces(std::string_view expression);

// '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Every text consists of matches.
const char* match_gpt2(const char* at, const char* end);

}  // namespace m3e
