// SPDX-License-Identifier: Apache-2.0
// The commands of `m3e`. Each returns its exit code, or throws Failure.
#pragma once

#include "arguments.h"

namespace m3e_cli {

struct Command {
  Usage usage;
  int (*run)(const Arguments& arguments);
  const char* summary;
};

Command embed_command();
Command rerank_command();
Command similarity_command();
Command info_command();
Command check_command();
Command tokenize_command();
Command bench_command();

// Options of how texts are encoded, and what they say.
extern const std::vector<Option> kPromptOptions;

// `own` and then `more`.
std::vector<Option> join(std::vector<Option> own, const std::vector<Option>& more);

}  // namespace m3e_cli
