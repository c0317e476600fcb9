// SPDX-License-Identifier: Apache-2.0
// The registers of AMX: eight tiles of 16 rows × 64 bytes, all of which have one configuration for
// as long as a thread computes. Include it where Intel's intrinsics are known, or emulated.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileRowBytes = 64;
constexpr int kTileBytes = kTileRows * kTileRowBytes;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// In static memory: GCC's _tile_loadconfig does not declare that it reads all of it.
const TileConfig kTileConfig;

void configure_tiles() { _tile_loadconfig(&kTileConfig); }
// A thread that keeps its tiles has 8 KiB more to save whenever the system switches threads or
// delivers a signal.
void release_tiles() { _tile_release(); }

struct alignas(64) TileSums {
  int32_t lane[kTileRows][kPanelColumns];
};

inline Ints load_sums(const TileSums& sums, int row) { return _mm512_load_si512(sums.lane[row]); }

// Call it between writing memory and loading it into tiles: GCC's _tile_loadd does not declare that
// it reads memory.
inline void finish_writing(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

}  // namespace
}  // namespace m3e
