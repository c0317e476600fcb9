// SPDX-License-Identifier: Apache-2.0
// Compression of whole blocks of 64 bytes: the part of SHA-256 that processors have instructions
// for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace m3e {

extern const uint32_t kSha256Constants[64];

using Sha256Blocks = void (*)(uint32_t state[8], const uint8_t* data, size_t blocks);

void sha256_blocks_portable(uint32_t state[8], const uint8_t* data, size_t blocks);

// The implementation with the processor's own instructions, or null if it has none.
Sha256Blocks sha256_blocks_of_processor();
extern const char* const kSha256OfProcessor;  // its name

}  // namespace m3e
