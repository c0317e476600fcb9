// SPDX-License-Identifier: Apache-2.0
// A loaded bundle behind the C interface; errors become Failure.
#pragma once

#include <m3e.h>

#include <memory>
#include <string>
#include <vector>

#include "arguments.h"

namespace m3e_cli {

struct CloseModel {
  void operator()(m3e_model* model) const { m3e_close(model); }
};
using OpenModel = std::unique_ptr<m3e_model, CloseModel>;

// Options that every command that loads a bundle takes.
extern const std::vector<Option> kModelOptions;

// Opens the bundle that the first argument names.
OpenModel open_model(const Arguments& arguments);

// Throws Failure if `status` is not M3E_OK.
void check(m3e_status status, const char* message);

// Threads that `--threads` asks for, by default the processors that affinity and quota allow.
int32_t threads_of(const Arguments& arguments);

// Texts as m3e_embed takes them. The strings must stay where they are.
struct TextPointers {
  explicit TextPointers(const std::vector<std::string>& texts);
  std::vector<const char*> data;
  std::vector<size_t> lengths;
};

// The float32 vectors of texts.
std::vector<float> embed_floats(m3e_model* model, const std::vector<std::string>& texts,
                                const m3e_embedding& embedding);

// m3e_bundle_info.
std::string bundle_info(const std::string& path);

}  // namespace m3e_cli
