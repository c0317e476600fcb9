// SPDX-License-Identifier: Apache-2.0
// Products with AMX: tiles of 16 rows × 64 inputs times 64 inputs × 16 columns. A panel of a packed
// matrix is a sequence of such weight tiles. Reads rows of codes in groups of 16: the buffer must
// be long enough. Tiles are configured before; see Kernels::prepare_thread.
#pragma once

#include "amx_tiles.h"
#include "gemm_int8.h"

namespace m3e {
namespace {

inline void restore_tile(const TileSums& sums, const QuantizedRows& x, const Int8Matrix& w,
                         const Epilogue& to, int row, int count, int panel) {
  const Restore restore(w, panel);
  for (int r = 0; r < count; ++r) {
    const Floats product = restore(load_sums(sums, r), x.scale[row + r], x.minimum[row + r]);
    end_vector(to, row + r, panel, product);
  }
}

// The processor's own prefetching stops at the end of a page.
inline void fetch_tile_ahead(const int8_t* weights) {
  constexpr int kBytesAhead = 4096;
#pragma GCC unroll 16
  for (int line = 0; line < kTileRows; ++line) {
    __builtin_prefetch(reinterpret_cast<const char*>(weights) + kBytesAhead + line * kLine);
  }
}

// 32 rows × 2 panels: every tile loaded serves two products. The first rows bring the weights into
// the cache.
template <bool kFirst>
inline void square_tile(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, int row,
                        int count, int panel) {
  const int inputs = round_up(w.inputs, kInputsAlign);
  const int64_t panel_stride = static_cast<int64_t>(inputs) * kPanelColumns;
  const int8_t* weights = w.panels + panel * panel_stride;
  const uint8_t* codes = x.codes + static_cast<int64_t>(row) * x.stride;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = 0; k < inputs; k += kInputsAlign) {
    _tile_loadd(4, codes + k, x.stride);
    _tile_loadd(5, codes + static_cast<int64_t>(kTileRows) * x.stride + k, x.stride);
    _tile_loadd(6, weights + k * kPanelColumns, 64);
    _tile_loadd(7, weights + panel_stride + k * kPanelColumns, 64);
    if (kFirst) {
      fetch_tile_ahead(weights + k * kPanelColumns);
      fetch_tile_ahead(weights + panel_stride + k * kPanelColumns);
    }
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  TileSums sums[4];
  _tile_stored(0, sums[0].lane, 64);
  _tile_stored(1, sums[1].lane, 64);
  _tile_stored(2, sums[2].lane, 64);
  _tile_stored(3, sums[3].lane, 64);
  const int below = count - kTileRows;
  for (int p = 0; p < 2; ++p) {
    restore_tile(sums[p], x, w, to, row, kTileRows, panel + p);
    restore_tile(sums[2 + p], x, w, to, row + kTileRows, below, panel + p);
  }
}

// Up to 16 rows × 4 panels. With few rows, reading the weights takes the time; four independent
// sums hide the latency.
inline void flat_tile(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, int row,
                      int count, int panel) {
  const int inputs = round_up(w.inputs, kInputsAlign);
  const int64_t panel_stride = static_cast<int64_t>(inputs) * kPanelColumns;
  const int8_t* weights = w.panels + panel * panel_stride;
  const uint8_t* codes = x.codes + static_cast<int64_t>(row) * x.stride;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = 0; k < inputs; k += kInputsAlign) {
    _tile_loadd(4, codes + k, x.stride);
    _tile_loadd(5, weights + k * kPanelColumns, 64);
    _tile_dpbusd(0, 4, 5);
    _tile_loadd(6, weights + panel_stride + k * kPanelColumns, 64);
    _tile_dpbusd(1, 4, 6);
    _tile_loadd(7, weights + 2 * panel_stride + k * kPanelColumns, 64);
    _tile_dpbusd(2, 4, 7);
    _tile_loadd(5, weights + 3 * panel_stride + k * kPanelColumns, 64);
    _tile_dpbusd(3, 4, 5);
  }
  TileSums sums[4];
  _tile_stored(0, sums[0].lane, 64);
  _tile_stored(1, sums[1].lane, 64);
  _tile_stored(2, sums[2].lane, 64);
  _tile_stored(3, sums[3].lane, 64);
  for (int p = 0; p < 4; ++p) restore_tile(sums[p], x, w, to, row, count, panel + p);
}

inline void single_tile(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, int row,
                        int count, int panel) {
  const int inputs = round_up(w.inputs, kInputsAlign);
  const int8_t* weights = w.panels + static_cast<int64_t>(panel) * inputs * kPanelColumns;
  const uint8_t* codes = x.codes + static_cast<int64_t>(row) * x.stride;
  _tile_zero(0);
  for (int k = 0; k < inputs; k += kInputsAlign) {
    _tile_loadd(4, codes + k, x.stride);
    _tile_loadd(5, weights + k * kPanelColumns, 64);
    _tile_dpbusd(0, 4, 5);
  }
  TileSums sums;
  _tile_stored(0, sums.lane, 64);
  restore_tile(sums, x, w, to, row, count, panel);
}

inline int at_most(int limit, int value) { return value < limit ? value : limit; }

// The rows that remain after the blocks of 32.
inline void few_rows(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, Range rows,
                     Range panels) {
  int panel = panels.begin;
  for (; panel + 4 <= panels.end; panel += 4) flat_tile(x, w, to, rows.begin, rows.size(), panel);
  for (; panel < panels.end; ++panel) single_tile(x, w, to, rows.begin, rows.size(), panel);
}

void gemm_int8_amx(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, Range rows,
                   Range panels) {
  // Up to 16 remaining rows are faster as one row of tiles than as a half-empty square.
  const int rest = rows.size() % (2 * kTileRows);
  const int squares_end = rows.end - (rest <= kTileRows ? rest : 0);
  int panel = panels.begin;
  for (; panel + 2 <= panels.end; panel += 2) {
    for (int row = rows.begin; row < squares_end; row += 2 * kTileRows) {
      const int count = at_most(2 * kTileRows, squares_end - row);
      if (row == rows.begin) {
        square_tile<true>(x, w, to, row, count, panel);
      } else {
        square_tile<false>(x, w, to, row, count, panel);
      }
    }
  }
  for (; panel < panels.end; ++panel) {
    for (int row = rows.begin; row < squares_end; row += kTileRows) {
      single_tile(x, w, to, row, at_most(kTileRows, squares_end - row), panel);
    }
  }
  if (squares_end < rows.end) few_rows(x, w, to, {squares_end, rows.end}, panels);
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
