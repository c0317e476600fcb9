// What this processor, and the system it runs under, allow.
#pragma once

namespace m3e {

struct Processor {
  bool avx2 = false, avxvnni = false, avx512 = false, avx512vnni = false, amx = false;
  bool neon = false, neon_dot = false, neon_i8mm = false;
};

// Asked once. Where there is AMX, asks Linux for leave to use it in this process.
const Processor& processor();

}  // namespace m3e
