// SPDX-License-Identifier: Apache-2.0
// Instruction sets that the processor and the operating system support.
#pragma once

namespace m3e {

struct Processor {
  bool sse41 = false;
  bool avx2 = false, avxvnni = false, avx512 = false, avx512vnni = false, avx512bf16 = false;
  bool amx = false;
  bool neon = false, neon_dot = false, neon_i8mm = false, neon_bf16 = false;
};

// Detected once. If there is AMX, requests Linux's permission to use it in this process.
const Processor& processor();

}  // namespace m3e
