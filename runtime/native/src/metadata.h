// SPDX-License-Identifier: Apache-2.0
// Values of the metadata of native weights. Each function throws Error where a value is not one.
#pragma once

#include <string>
#include <vector>

#include "safetensors.h"

namespace m3e {

// `text`, the value of `key`, as a number from `smallest` to `largest`.
int metadata_number(const std::string& key, const std::string& text, int smallest, int largest);

// The value of `key` as a number from 1 to `largest`.
int metadata_count(const SafeTensors& file, const std::string& key, int largest);

// A number of JSON that is not negative. Not read by strtof, which follows the locale.
float metadata_epsilon(const std::string& text);

// Whether the value of `key` is `yes`, and not `no`.
bool metadata_choice(const SafeTensors& file, const std::string& key, const char* no,
                     const char* yes);

// Whether `key` is there. Its value may only be `value` then.
bool metadata_says(const SafeTensors& file, const std::string& key, const char* value);

// The parts between separators; at least one.
std::vector<std::string> split(const std::string& text, char separator);

}  // namespace m3e
