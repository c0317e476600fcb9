// SPDX-License-Identifier: Apache-2.0
// The steps of a part of a tokenizer.json, sequences within sequences included, in their order.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace m3e {

using JsonSteps = std::vector<const Json*>;

// `part` is null or has a type; `members` is the name of a Sequence's list.
inline void append_steps(const Json& part, const char* members, JsonSteps& steps) {
  if (part.is_null()) return;
  if (part.at("type").string() != "Sequence") {
    steps.push_back(&part);
    return;
  }
  for (const Json& step : part.at(members).array()) append_steps(step, members, steps);
}

inline JsonSteps normalizer_steps(const Json& normalizer) {
  JsonSteps steps;
  append_steps(normalizer, "normalizers", steps);
  return steps;
}

inline JsonSteps pre_tokenizer_steps(const Json& pre_tokenizer) {
  JsonSteps steps;
  append_steps(pre_tokenizer, "pretokenizers", steps);
  return steps;
}

inline const std::string& step_type(const Json& step) { return step.at("type").string(); }

}  // namespace m3e
