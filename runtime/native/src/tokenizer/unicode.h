// Unicode, in the versions that the crate `tokenizers` and its dependencies use.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace m3e::unicode {

bool is_utf8(std::string_view text);

// Decodes the character at `at`, in valid UTF-8, and moves `at` behind it.
char32_t next(const char*& at);
void append(std::string& to, char32_t character);

// As Rust's standard library has them (char::is_whitespace, is_control, is_alphabetic, is_numeric,
// to_lowercase).
bool is_whitespace(char32_t character);
bool is_control(char32_t character);  // category Cc
bool is_alphabetic(char32_t character);
bool is_numeric(char32_t character);  // categories Nd, Nl, No
void append_lowercase(std::string& to, char32_t character);

// General categories, in the version of the crate `unicode_categories`.
bool is_punctuation(char32_t character);      // P*
bool is_mark_nonspacing(char32_t character);  // Mn
bool is_other(char32_t character);            // C*: Cc, Cf, Cn, Co, as BertNormalizer asks

// The categories that regular expressions name, in the version of the engine that runs them.
bool regex_is_letter(char32_t character);  // \p{L}
bool regex_is_number(char32_t character);  // \p{N}
bool regex_is_space(char32_t character);   // \s
bool regex_is_word(char32_t character);    // \w

// Normalization forms, in the version of the crate `unicode-normalization`.
void to_nfc(std::string& text);
void to_nfd(std::string& text);
void to_nfkc(std::string& text);
void to_nfkd(std::string& text);

}  // namespace m3e::unicode
