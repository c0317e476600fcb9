// SPDX-License-Identifier: Apache-2.0
// What a bundle is, as JSON for people and programs.
#pragma once

#include <string>

#include "bundle.h"

namespace m3e {

// See m3e_bundle_info.
std::string describe(const Bundle& bundle);

}  // namespace m3e
