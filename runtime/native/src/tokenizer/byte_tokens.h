// SPDX-License-Identifier: Apache-2.0
// The tokens "<0x00>" to "<0xFF>", which stand for the bytes of what a vocabulary lacks.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace m3e {

class ByteTokens {
 public:
  // `find` returns the id of a token, or nothing.
  template <class Find>
  explicit ByteTokens(Find find) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    char token[] = "<0x00>";
    for (size_t byte = 0; byte < 256; ++byte) {
      token[3] = kDigits[byte >> 4];
      token[4] = kDigits[byte & 15];
      const std::optional<int32_t> id = find(std::string_view(token, 6));
      ids_[byte] = id ? *id : -1;
    }
  }

  int32_t operator[](char byte) const { return ids_[static_cast<uint8_t>(byte)]; }

  bool has_all(std::string_view text) const {
    for (const char byte : text) {
      if ((*this)[byte] < 0) return false;
    }
    return true;
  }

 private:
  std::array<int32_t, 256> ids_;
};

}  // namespace m3e
