// SPDX-License-Identifier: Apache-2.0
// The normalizers as C functions, for the test that compares them with the package `tokenizers`.
#include <cstring>

#include "error.h"
#include "tokenizer/normalizers.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

std::string answer;

// Keeps `text` until the next call.
const char* answer_with(std::string text, size_t* bytes) {
  answer = std::move(text);
  *bytes = answer.size();
  return answer.data();
}

}  // namespace

// Null if the normalizer cannot be read; `error` gets why, and `unsupported` whether it is unknown.
EXPORT m3e::Normalizer* shim_read(const char* json, size_t bytes, int* unsupported, char* error,
                                  size_t error_bytes) try {
  return m3e::read_normalizer(m3e::Json::parse({json, bytes})).release();
} catch (const m3e::Error& e) {
  *unsupported = e.kind == m3e::ErrorKind::unsupported;
  std::strncpy(error, e.what(), error_bytes - 1);
  return nullptr;
}

EXPORT void shim_free(m3e::Normalizer* normalizer) { delete normalizer; }

// Null if the normalizer refuses the text.
EXPORT const char* shim_apply(const m3e::Normalizer* normalizer, const char* text, size_t bytes,
                              size_t* answer_bytes) try {
  std::string normalized(text, bytes);
  normalizer->apply(normalized);
  return answer_with(std::move(normalized), answer_bytes);
} catch (const m3e::Error&) {
  return nullptr;
}
