// SPDX-License-Identifier: Apache-2.0
#include "text_start.h"

#include <string>

#include "error.h"
#include "json_steps.h"

namespace m3e {
namespace {

bool is_first_metaspace(const Json& step) {
  return step_type(step) == "Metaspace" && step.text("prepend_scheme", "always") == "first";
}

bool keeps_first_character(const Json& normalizer) {
  const std::string& type = step_type(normalizer);
  if (type == "Replace") return !normalizer.at("content").string().empty();
  for (const char* kept : {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Precompiled"}) {
    if (type == kept) return true;
  }
  return false;
}

bool changes_text(const Json& pre_tokenizer) {
  return step_type(pre_tokenizer) == "Metaspace" || step_type(pre_tokenizer) == "ByteLevel";
}

[[noreturn]] void unsupported(const std::string& after) {
  throw Error(ErrorKind::unsupported,
              "Metaspace with prepend_scheme \"first\" after " + after + " is not implemented");
}

}  // namespace

void check_text_start(const Json& normalizer, const Json& pre_tokenizer,
                      bool has_normalized_added_tokens) {
  const JsonSteps before = normalizer_steps(normalizer);
  const Json* earlier = nullptr;
  const Json* changed = nullptr;
  for (const Json* step : pre_tokenizer_steps(pre_tokenizer)) {
    if (is_first_metaspace(*step)) {
      if (changed) unsupported(step_type(*changed));
      for (const Json* each : before) {
        if (!keeps_first_character(*each)) unsupported(step_type(*each));
        if (earlier) unsupported(step_type(*each) + " and " + step_type(*earlier));
        if (has_normalized_added_tokens) unsupported(step_type(*each) + " and added tokens");
      }
    }
    earlier = step;
    if (changes_text(*step)) changed = step;
  }
}

}  // namespace m3e
