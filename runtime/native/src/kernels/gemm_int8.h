// SPDX-License-Identifier: Apache-2.0
// Products of 8-bit rows with packed 8-bit matrices. Include a dot_*.h first, which defines:
//
// - kStepInputs: inputs of a step, 4 or 8. A panel consists of blocks of 16 columns × 4 inputs.
// - Weights, load_weights: one step of a panel.
// - Codes, splat_codes: the codes of a row for one step, repeated for each column.
// - dot: adds a step's products of each column to 16 sums.
// - kOffset: added back to its codes: 0, or 128 if only signed codes can be multiplied.
// - kInt8TileRows, kInt8TilePanels: the tile that fills the registers.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

// y = scale · scales · Σ code · w + (minimum · sums + bias).
struct Restore {
  Floats scales, sums, bias;
  Restore(const Int8Matrix& w, int panel)
      : scales(load(w.scales + panel * kPanelColumns)),
        sums(load(w.sums + panel * kPanelColumns)),
        bias(load(w.bias + panel * kPanelColumns)) {}
  Floats operator()(Ints total, float scale, float minimum) const {
    const Floats constant = fma(splat(minimum), sums, bias);
    return fma(mul(to_float(total), scales), splat(scale), constant);
  }
};

constexpr int kStepBytes = kStepInputs * kPanelColumns;
constexpr int kLine = 64;

inline int64_t bytes_of_panel(const Int8Matrix& w) {
  return static_cast<int64_t>(round_up(w.inputs, kInputsAlign)) * kPanelColumns;
}

template <int kRows, int kPanels, class Fetch>
[[gnu::noinline]] void int8_tile(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to,
                                 int row, int panel, Fetch ahead) {
  const int64_t panel_stride = bytes_of_panel(w);
  const int steps = static_cast<int>(panel_stride / kStepBytes);
  const int8_t* weights = w.panels + panel * panel_stride;
  const uint8_t* codes = x.codes + static_cast<int64_t>(row) * x.stride;
  Ints sums[kRows][kPanels];
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = no_sum(); });
  });
  for (int step = 0; step < steps; ++step) {
    Weights column[kPanels];
    unroll<kPanels>([&](auto p) M3E_INLINE {
      column[p] = load_weights(weights + p * panel_stride + step * kStepBytes);
      unroll<kStepBytes / kLine>([&](auto line)
                                     M3E_INLINE { ahead(p, step * (kStepBytes / kLine) + line); });
    });
    unroll<kRows>([&](auto r) M3E_INLINE {
      const Codes value =
          splat_codes(codes + static_cast<int64_t>(r) * x.stride + step * kStepInputs);
      unroll<kPanels>([&](auto p) M3E_INLINE {
        sums[r][p] = dot(sums[r][p], value, column[p]);
        settle(sums[r][p]);
      });
    });
  }
  unroll<kPanels>([&](auto p) M3E_INLINE {
    const Restore restore(w, panel + p);
    unroll<kRows>([&](auto r) M3E_INLINE {
      const float minimum = x.minimum[row + r] + kOffset * x.scale[row + r];
      const Floats product = restore(sums[r][p], x.scale[row + r], minimum);
      finish<gelu_fast>(to, row + r, panel + p, add_residual(to, row + r, panel + p, product));
    });
  });
}

template <int kPanels>
inline void int8_panels(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, Range rows,
                        int panel) {
  const int64_t bytes = bytes_of_panel(w);
  const int8_t* next = w.panels + (panel + kPanels) * bytes;
  for_row_tiles(rows, kInt8TileRows, [&](int row, int count) {
    const Ahead ahead(next, bytes, bytes, rows, row, count, bytes / kLine);
    Constant<kInt8TileRows>::call(
        count, [&](auto tall) { int8_tile<tall.value, kPanels>(x, w, to, row, panel, ahead); });
  });
}

[[maybe_unused]] void gemm_int8(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to,
                                Range rows, Range panels) {
  int panel = panels.begin;
  for (; panel + kInt8TilePanels <= panels.end; panel += kInt8TilePanels) {
    int8_panels<kInt8TilePanels>(x, w, to, rows, panel);
  }
  for (; panel < panels.end; ++panel) int8_panels<1>(x, w, to, rows, panel);
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
