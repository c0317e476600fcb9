// SPDX-License-Identifier: Apache-2.0
// What must hold for any input. A check that fails ends the process.
#pragma once

#include <string>
#include <vector>

namespace m3e::fuzz {

// Either is read or refused with Error. A tokenizer that is read gives each text the same ids each
// time, less of them if it is cut, and all of them below its vocabulary's size.
// Returns whether it was read.
bool check_tokenizer(const std::string& json, const std::vector<std::string>& texts);
bool check_manifest(const std::string& json);

}  // namespace m3e::fuzz
