// SPDX-License-Identifier: Apache-2.0
#include "processor.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif

namespace m3e {
namespace {

#if defined(__x86_64__)

bool bit(uint32_t word, int index) { return (word >> index) & 1u; }

uint64_t enabled_states() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux hands out the 8 KiB of tile registers on request only (Documentation/arch/x86/xstate.rst).
bool tiles_granted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Processor ask() {
  Processor found;
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  found.sse41 = bit(c, 9) && bit(c, 19);  // with SSSE3
  const bool fma = bit(c, 12), xsave = bit(c, 27), f16c = bit(c, 29);
  if (!xsave || !fma || !f16c) return found;
  const uint64_t states = enabled_states();
  const bool ymm = (states & 0x6) == 0x6, zmm = (states & 0xE6) == 0xE6;
  const bool tiles = (states & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found.avx2 = ymm && bit(b, 5);
  found.avx512 = found.avx2 && zmm && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
  found.avx512vnni = found.avx512 && bit(c, 11);
  const bool amx_int8 = bit(d, 24) && bit(d, 25);
  found.amx = found.avx512vnni && tiles && amx_int8 && tiles_granted();
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    found.avxvnni = found.avx2 && bit(a, 4);
    found.avx512bf16 = found.avx512vnni && bit(a, 5);
  }
  return found;
}

#elif defined(__aarch64__)

Processor ask() {
  Processor found;
  found.neon = true;
  // Armv8.6 has i8mm and bfloat16 together, so one set has both.
#if defined(__linux__)
  constexpr unsigned long kDot = 1ul << 20;                      // HWCAP_ASIMDDP
  constexpr unsigned long kI8mm = 1ul << 13, kBf16 = 1ul << 14;  // HWCAP2_I8MM, HWCAP2_BF16
  found.neon_dot = (getauxval(AT_HWCAP) & kDot) != 0;
  found.neon_i8mm = found.neon_dot && (getauxval(AT_HWCAP2) & kI8mm) != 0;
  found.neon_bf16 = found.neon_i8mm && (getauxval(AT_HWCAP2) & kBf16) != 0;
#elif defined(__APPLE__)
  const auto has = [](const char* name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  found.neon_dot = has("hw.optional.arm.FEAT_DotProd");
  found.neon_i8mm = found.neon_dot && has("hw.optional.arm.FEAT_I8MM");
  found.neon_bf16 = found.neon_i8mm && has("hw.optional.arm.FEAT_BF16");
#elif defined(_WIN32)
  // winnt.h of the Windows SDK: PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, PF_ARM_V82_I8MM_… and
  // PF_ARM_V86_BF16_…. The last two came later; earlier systems answer no.
  constexpr DWORD kDot = 43, kI8mm = 66, kBf16 = 68;
  found.neon_dot = IsProcessorFeaturePresent(kDot) != 0;
  found.neon_i8mm = found.neon_dot && IsProcessorFeaturePresent(kI8mm) != 0;
  found.neon_bf16 = found.neon_i8mm && IsProcessorFeaturePresent(kBf16) != 0;
#endif
  return found;
}

#else

Processor ask() { return {}; }

#endif

}  // namespace

const Processor& processor() {
  static const Processor found = ask();
  return found;
}

}  // namespace m3e
