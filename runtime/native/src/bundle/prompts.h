// SPDX-License-Identifier: Apache-2.0
// Prompts by name, as sentence-transformers finds them. The reference is m3e_runtime/prompts.py.
#pragma once

#include <string>

#include "manifest.h"

namespace m3e {

// The prompt before each text: `prompt`, or the one called `name`, or the bundle's default; both
// may be null. Throws Error(argument) if there is no prompt of that name, if it belongs to another
// route of the model, or if `prompt` is not UTF-8.
std::string choose_prompt(const Manifest& manifest, const char* name, const char* prompt);

}  // namespace m3e
