// SPDX-License-Identifier: Apache-2.0
// Base64 (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace m3e {

// The bytes, or nothing if `text` has another character, ends too early, or has bits beyond the
// last byte.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace m3e
