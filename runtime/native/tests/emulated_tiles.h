// SPDX-License-Identifier: Apache-2.0
// The instructions of AMX in plain C++, for tests on processors without it. Include it after
// immintrin.h and before the kernels: it takes the place of Intel's intrinsics.
//
// As Intel's Software Developer's Manual defines them (volume 1, chapter 18, and the instructions
// in volume 2): rows and bytes of a row are those of the configuration, loading one clears the
// tiles, and what would raise #UD or #GP ends the program. Tiles belong to a thread.
#pragma once

#include <cstdint>

namespace m3e::emulated {

enum class Sign { plus, both };  // of the bytes of a factor: unsigned or signed

void load_config(const void* config);
void release();
void zero(int tile);
void load(int tile, const void* from, int64_t stride);
void store(int tile, void* to, int64_t stride);
void multiply(int sums, int left, Sign left_sign, int right, Sign right_sign);

// Threads whose tiles are configured now, and instructions that all threads have executed so far.
int configured_threads();
int64_t multiplications();

}  // namespace m3e::emulated

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#undef _tile_dpbuud
#define _tile_loadconfig(config) m3e::emulated::load_config(config)
#define _tile_release() m3e::emulated::release()
#define _tile_zero(tile) m3e::emulated::zero(tile)
#define _tile_loadd(tile, from, stride) m3e::emulated::load(tile, from, stride)
#define _tile_stored(tile, to, stride) m3e::emulated::store(tile, to, stride)
#define M3E_EMULATED(sums, left, left_sign, right, right_sign)               \
  m3e::emulated::multiply(sums, left, m3e::emulated::Sign::left_sign, right, \
                          m3e::emulated::Sign::right_sign)
#define _tile_dpbssd(sums, left, right) M3E_EMULATED(sums, left, both, right, both)
#define _tile_dpbsud(sums, left, right) M3E_EMULATED(sums, left, both, right, plus)
#define _tile_dpbusd(sums, left, right) M3E_EMULATED(sums, left, plus, right, both)
#define _tile_dpbuud(sums, left, right) M3E_EMULATED(sums, left, plus, right, plus)
