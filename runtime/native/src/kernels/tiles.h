// SPDX-License-Identifier: Apache-2.0
// Divides a product into tiles, and finishes a tile.
#pragma once

#include <cstdint>
#include <utility>

#include "elementwise.h"
#include "kernels.h"

namespace m3e {
namespace {

// Loops over the registers of a tile must be unrolled before the compiler allocates registers: it
// puts an array with a variable index in memory. `#pragma GCC unroll` takes effect too late.
#define M3E_INLINE __attribute__((always_inline))

template <int kN>
struct Index {
  static constexpr int value = kN;
  constexpr operator int() const { return kN; }
};

template <class Body, int... kIndices>
M3E_INLINE inline void unroll(Body& body, std::integer_sequence<int, kIndices...>) {
  (body(Index<kIndices>{}), ...);
}
// body(0), body(1) … body(kCount - 1).
template <int kCount, class Body>
M3E_INLINE inline void unroll(Body body) {
  unroll(body, std::make_integer_sequence<int, kCount>{});
}

// Prefetches weights. If the first tile of a panel had to fetch the panel, it would run at the
// speed of memory and the other tiles at the speed of registers. Instead, each tile prefetches a
// part of the next panel while it computes.
class Ahead {
 public:
  // `next` are the weights of the next panels, `bytes` in each. This tile has `count` of `rows`,
  // from `row`, and prefetches `times` for each panel.
  Ahead(const void* next, int64_t panel_stride, int64_t bytes, Range rows, int row, int count,
        int64_t times)
      : from_(static_cast<const char*>(next) + bytes * (row - rows.begin) / rows.size()),
        panel_stride_(panel_stride),
        step_((bytes * count / rows.size() + times - 1) / times) {}
  void operator()(int panel, int64_t time) const {
    fetch(from_ + panel * panel_stride_ + time * step_);
  }

  // A tile that prefetches several lines at a time names each. Where a time has less than a line,
  // the lines after the first are fetched more than once, which costs less than a branch.
  template <int kPanels>
  M3E_INLINE void fetch(int line) const {
    unroll<kPanels>([&](auto p) M3E_INLINE { fetch(from_ + p * panel_stride_ + line * kLine); });
  }
  M3E_INLINE void advance() { from_ += step_; }

 private:
  static constexpr int kLine = 64;
  M3E_INLINE static void fetch(const char* at) {
    constexpr int kRead = 0, kNextCache = 2;
    __builtin_prefetch(at, kRead, kNextCache);
    // GCC takes a function that only prefetches for one without effects, and removes its calls.
    asm volatile("");
  }

  const char* from_;
  int64_t panel_stride_, step_;  // in bytes
};
struct NothingAhead {
  void operator()(int, int64_t) const {}
};

// Rows of codes that a tile reads side by side. Three rows share a register, as an address plus
// none, one or two strides: a compiler that keeps an offset for each of twelve rows runs out of
// registers.
template <int kRows>
class TileRows {
 public:
  TileRows(const uint8_t* first, int64_t stride) : stride_(stride) {
    unroll<kThrees>([&](auto i) M3E_INLINE { threes_[i] = first + 3 * i * stride; });
    advance(0);
  }
  M3E_INLINE const uint8_t* operator[](int row) const {
    return threes_[row / 3] + row % 3 * stride_;
  }
  M3E_INLINE void advance(int bytes) {
    unroll<kThrees>([&](auto i) M3E_INLINE {
      threes_[i] += bytes;
      asm volatile("" : "+r"(threes_[i]));  // hides from the compiler what it would make offsets of
    });
  }
  M3E_INLINE void settle() { asm volatile("" : "+r"(stride_)); }

 private:
  static constexpr int kThrees = (kRows + 2) / 3;
  const uint8_t* threes_[kThrees];
  int64_t stride_;
};

// Calls body(constant) with the constant equal to `n`, for 1 ≤ n ≤ kMost.
template <int kMost>
struct Constant {
  template <class Body>
  static inline void call(int n, Body body) {
    if (n == kMost) {
      body(Index<kMost>{});
    } else {
      Constant<kMost - 1>::call(n, body);
    }
  }
};
template <>
struct Constant<0> {
  template <class Body>
  static inline void call(int, Body) {}
};

// Calls body(first row, number of rows) over `rows` in tiles of nearly equal height, at most
// `tallest`.
template <class Body>
inline void for_row_tiles(Range rows, int tallest, Body body) {
  const int tiles = (rows.size() + tallest - 1) / tallest;
  for (int tile = 0; tile < tiles; ++tile) {
    const int begin =
        rows.begin + static_cast<int>(static_cast<int64_t>(rows.size()) * tile / tiles);
    const int end =
        rows.begin + static_cast<int>(static_cast<int64_t>(rows.size()) * (tile + 1) / tiles);
    body(begin, end - begin);
  }
}

// Calls body(block) over `all` in blocks of `size`; the last may be smaller.
template <class Body>
inline void for_blocks(Range all, int size, Body body) {
  for (int begin = all.begin; begin < all.end; begin += size) {
    body(Range{begin, begin + size < all.end ? begin + size : all.end});
  }
}

// Calls body(panels, first column, columns of the last panel) over `columns`, first in groups of
// kMost panels.
template <int kMost, class Body>
inline void for_panels(int columns, Body body) {
  int column = 0;
  for (; column + kMost * kPanelColumns <= columns; column += kMost * kPanelColumns) {
    body(Index<kMost>{}, column, kPanelColumns);
  }
  for (; column < columns; column += kPanelColumns) {
    body(Index<1>{}, column, columns - column < kPanelColumns ? columns - column : kPanelColumns);
  }
}

// Where a product writes a panel of a row.
inline float* place_of(const Epilogue& to, int row, int panel) {
  const int place = to.gated ? panel / 2 : panel;
  return to.out + static_cast<int64_t>(row) * to.stride + place * kPanelColumns;
}

// Brings the lines that a tile writes into the cache, while the tile computes.
template <int kPanels>
M3E_INLINE inline void fetch_tile(const Epilogue& to, int row, int count, int panel) {
  constexpr int kWrite = 1;
  const float* out = place_of(to, row, panel);
  for (int r = 0; r < count; ++r, out += to.stride) {
    unroll<kPanels>([&](auto p)
                        M3E_INLINE { __builtin_prefetch(out + p * kPanelColumns, kWrite); });
  }
}

inline Floats add_residual(const Epilogue& to, int row, int panel, Floats y) {
  const int64_t at = static_cast<int64_t>(row) * to.stride + panel * kPanelColumns;
  return to.residual ? add(y, load(to.residual + at)) : y;
}

// Applies GELU only: code for other activations would take registers from it. See activate.
template <Floats (*gelu)(Floats)>
inline void finish(const Epilogue& to, int row, int panel, Floats y) {
  const int64_t at = static_cast<int64_t>(row) * to.stride + panel * kPanelColumns;
  if (to.activation == Activation::gelu) y = gelu(y);
  store(to.out + at, y);
}

template <class Function>
inline void apply(const Epilogue& to, Range rows, Range panels, Function function) {
  for (int row = rows.begin; row < rows.end; ++row) {
    float* x = to.out + static_cast<int64_t>(row) * to.stride;
    for (int panel = panels.begin; panel < panels.end; ++panel) {
      store(x + panel * kPanelColumns, function(load(x + panel * kPanelColumns)));
    }
  }
}

// Applies the other activations to a whole product.
inline void activate(const Epilogue& to, Range rows, Range panels) {
  if (to.gated) return;  // every panel is activated by itself
  if (to.activation == Activation::gelu_tanh) {
    apply(to, rows, panels, [](Floats x) { return gelu_tanh(x); });
  }
  if (to.activation == Activation::quick_gelu) {
    apply(to, rows, panels, [](Floats x) { return quick_gelu(x); });
  }
  if (to.activation == Activation::relu) apply(to, rows, panels, [](Floats x) { return relu(x); });
  if (to.activation == Activation::silu) apply(to, rows, panels, [](Floats x) { return silu(x); });
}

}  // namespace
}  // namespace m3e
