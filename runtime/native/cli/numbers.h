// SPDX-License-Identifier: Apache-2.0
// Numbers as text, independent of the locale.
#pragma once

#include <string>

namespace m3e_cli {

// Appends the shortest text of at most nine digits that becomes `value` again when it is read as a
// double and rounded to a float; null if it is not finite.
void append_float(std::string& to, float value);

}  // namespace m3e_cli
