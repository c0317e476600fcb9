// SPDX-License-Identifier: Apache-2.0
// Chooses the artifact of a bundle. The reference is m3e_runtime/backends/choice.py.
#pragma once

#include "bundle.h"

namespace m3e {

// The native artifact called `name`, or, if it is null, the one that is fastest on a CPU. Throws
// Error(argument) if there is none of that name, and Error(unsupported) if this library runs none.
const Artifact& choose_artifact(const Bundle& bundle, const char* name);

// Empty if this library runs the artifact, else the reason why not.
std::string why_not_here(const Artifact& artifact);

}  // namespace m3e
