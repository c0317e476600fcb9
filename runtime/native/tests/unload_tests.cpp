// SPDX-License-Identifier: Apache-2.0
// Loads the shared library, uses it, and unloads it, again and again: nothing may keep it in
// memory.
//
//   unload_tests LIBRARY [ARTIFACT]
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "m3e.h"

namespace {

void* library;
char message[M3E_MESSAGE_SIZE];

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}

void check(m3e_status status) {
  if (status != M3E_OK) fail(message);
}

template <class Function>
Function* find(Function*, const char* name) {
  void* found = dlsym(library, name);
  if (!found) fail(std::string("there is no ") + name);
  return reinterpret_cast<Function*>(found);
}
#define CALL(name) find(decltype (&name)(), #name)

void tokenize() {
  const std::string json =
      R"({"version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null,
          "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": null,
          "model": {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100, "vocab": {"u": 0, "word": 1}}})";
  m3e_tokenizer* tokenizer;
  check(CALL(m3e_tokenizer_parse)(json.data(), json.size(), nullptr, &tokenizer, message));
  const char* text = "word";
  const size_t length = 4;
  m3e_tokens tokens;
  check(CALL(m3e_tokenize)(tokenizer, &text, &length, 1, 0, &tokens, message));
  if (tokens.offsets[1] != 1 || tokens.ids[0] != 1) fail("other token ids");
  CALL(m3e_tokens_free)(&tokens);
  CALL(m3e_tokenizer_free)(tokenizer);
}

void encode(const char* artifact) {
  const int32_t ids[] = {2, 5, 6, 7, 3};
  const int64_t offsets[] = {0, 5};
  m3e_options options = M3E_OPTIONS;
  options.threads = 4;
  m3e_encoder* encoder;
  check(CALL(m3e_load)(artifact, &options, &encoder, message));
  std::vector<float> vector(static_cast<size_t>(CALL(m3e_dimension)(encoder)));
  check(CALL(m3e_encode)(encoder, ids, offsets, 1, vector.data(), message));
  CALL(m3e_free)(encoder);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) fail("usage: unload_tests LIBRARY [ARTIFACT]");
  for (int round = 0; round < 3; ++round) {
    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(dlerror());
    tokenize();
    if (count > 2) encode(arguments[2]);
    dlclose(library);
    if (dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD)) fail("the library is still in memory");
  }
  std::printf("unloaded three times\n");
  return 0;
}
