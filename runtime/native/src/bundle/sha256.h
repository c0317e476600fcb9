// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), with the processor's own instructions where it has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace m3e {

class Sha256 {
 public:
  void update(const uint8_t* data, size_t bytes);
  std::string hex();  // lower case; the object is used up

  // Name of the implementation that runs here: "portable", "sha-ni" or "armv8".
  static const char* implementation();

 private:
  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t bytes_ = 0;
  size_t held_ = 0;  // bytes in block_
  uint8_t block_[64];
};

// SHA-256 of the content of a file, in lower-case hex.
std::string sha256_of_file(const std::string& path);

}  // namespace m3e
