// SPDX-License-Identifier: Apache-2.0
#include "emulated_tiles.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace m3e::emulated {
namespace {

constexpr int kTiles = 8, kMostRows = 16, kMostRowBytes = 64;

// The operand of ldtilecfg.
struct Config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Config) == 64, "as in memory");

struct Tile {
  int rows = 0, row_bytes = 0;
  uint8_t bytes[kMostRows][kMostRowBytes] = {};
  bool configured() const { return rows > 0; }
};

thread_local struct {
  bool configured = false;
  Tile tiles[kTiles];
} registers;

std::atomic<int> configured{0};
std::atomic<int64_t> multiplied{0};

void require(bool allowed, const char* fault) {
  if (allowed) return;
  std::fprintf(stderr, "emulated tiles: %s\n", fault);
  std::abort();
}

Tile& tile_at(int index) {
  require(registers.configured, "#UD: no configuration is loaded");
  require(index >= 0 && index < kTiles, "#UD: there are eight tiles");
  Tile& tile = registers.tiles[index];
  require(tile.configured(), "#UD: the configuration leaves out this tile");
  return tile;
}

void check(const Config& config) {
  require(config.palette == 1, "#GP: an unknown palette");
  require(config.start_row == 0, "a start row is not emulated");
  for (const uint8_t byte : config.reserved) require(byte == 0, "#GP: a reserved byte is not zero");
  for (int i = 0; i < 16; ++i) {
    const int rows = config.rows[i], row_bytes = config.row_bytes[i];
    require(i < kTiles || (rows == 0 && row_bytes == 0), "#GP: there are eight tiles");
    require(rows <= kMostRows && row_bytes <= kMostRowBytes, "#GP: a tile is too large");
    require((rows == 0) == (row_bytes == 0), "#GP: a tile has rows or bytes alone");
  }
}

// Products stay within tiles, whose shapes are checked, and take most of the time of the tests
// under sanitizers. What tiles are loaded from and stored to is checked there.
#define M3E_UNCHECKED [[gnu::no_sanitize("address", "undefined")]]

M3E_UNCHECKED inline int64_t byte_at(const uint8_t* byte, Sign sign) {
  return sign == Sign::both ? static_cast<int8_t>(*byte) : *byte;
}

template <Sign kLeft, Sign kRight>
M3E_UNCHECKED void multiply_bytes(const Tile& left, const Tile& right, Tile& sums) {
  const int columns = sums.row_bytes / 4;
  for (int row = 0; row < sums.rows; ++row) {
    uint32_t lanes[kMostRowBytes / 4];
    std::memcpy(lanes, sums.bytes[row], sizeof lanes);
    for (int four = 0; four < right.rows; ++four) {
      for (int column = 0; column < columns; ++column) {
        for (int i = 0; i < 4; ++i) {
          lanes[column] +=
              static_cast<uint32_t>(byte_at(&left.bytes[row][4 * four + i], kLeft) *
                                    byte_at(&right.bytes[four][4 * column + i], kRight));
        }
      }
    }
    std::memcpy(sums.bytes[row], lanes, sizeof lanes);
  }
}

}  // namespace

void load_config(const void* from) {
  Config config;
  std::memcpy(&config, from, sizeof config);
  release();
  if (config.palette == 0) return;
  check(config);
  for (int i = 0; i < kTiles; ++i) {
    registers.tiles[i].rows = config.rows[i];
    registers.tiles[i].row_bytes = config.row_bytes[i];
  }
  registers.configured = true;
  ++configured;
}

void release() {
  if (registers.configured) --configured;
  registers.configured = false;
  for (Tile& tile : registers.tiles) tile = Tile{};
}

void zero(int tile) { std::memset(tile_at(tile).bytes, 0, sizeof Tile::bytes); }

void load(int tile, const void* from, int64_t stride) {
  zero(tile);
  Tile& to = tile_at(tile);
  for (int row = 0; row < to.rows; ++row) {
    std::memcpy(to.bytes[row], static_cast<const uint8_t*>(from) + row * stride,
                static_cast<size_t>(to.row_bytes));
  }
}

void store(int tile, void* to, int64_t stride) {
  const Tile& from = tile_at(tile);
  for (int row = 0; row < from.rows; ++row) {
    std::memcpy(static_cast<uint8_t*>(to) + row * stride, from.bytes[row],
                static_cast<size_t>(from.row_bytes));
  }
}

void multiply(int sums, int left, Sign left_sign, int right, Sign right_sign) {
  Tile& to = tile_at(sums);
  const Tile &a = tile_at(left), &b = tile_at(right);
  require(sums != left && sums != right && left != right, "#UD: a tile is named twice");
  require(to.row_bytes % 4 == 0 && a.row_bytes % 4 == 0 && b.row_bytes % 4 == 0,
          "#UD: bytes of a row that are no multiple of four");
  require(to.rows == a.rows && to.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows,
          "#UD: tiles of other shapes than those of a product");
  const bool signed_left = left_sign == Sign::both, signed_right = right_sign == Sign::both;
  (signed_left    ? signed_right ? multiply_bytes<Sign::both, Sign::both>
                                 : multiply_bytes<Sign::both, Sign::plus>
   : signed_right ? multiply_bytes<Sign::plus, Sign::both>
                  : multiply_bytes<Sign::plus, Sign::plus>)(a, b, to);
  ++multiplied;
}

int configured_threads() { return configured; }
int64_t multiplications() { return multiplied; }

}  // namespace m3e::emulated
