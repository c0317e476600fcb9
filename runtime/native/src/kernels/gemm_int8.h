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

#include "activations.h"
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
constexpr int kStepsTogether = 16 / kStepInputs;  // steps of one iteration
constexpr int kLinesTogether = kStepsTogether * kStepBytes / kLine;

inline int64_t bytes_of_panel(const Int8Matrix& w) {
  return static_cast<int64_t>(round_up(w.inputs, kInputsAlign)) * kPanelColumns;
}

// The sums of a tile of kRows × kPanels vectors, row by row. The end of the product reads them from
// memory, so that nothing but sums takes registers, and that there is one end for tiles of any
// height.
template <int kRows, int kPanels>
[[gnu::noinline]] void sum_tile(const QuantizedRows& x, const Int8Matrix& w, int row, int panel,
                                Ahead ahead, Ints* totals) {
  const int64_t panel_stride = bytes_of_panel(w);
  const int8_t* weights = w.panels + panel * panel_stride;
  TileRows<kRows> rows(x.codes + static_cast<int64_t>(row) * x.stride, x.stride);
  Ints sums[kRows][kPanels];
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = no_sum(); });
  });
  for (int64_t left = panel_stride; left; left -= kStepsTogether * kStepBytes) {
    unroll<kStepsTogether>([&](auto step) M3E_INLINE {
      unroll<kStepBytes / kLine>([&](auto line) M3E_INLINE {
        ahead.template fetch<kPanels>(step * (kStepBytes / kLine) + line);
      });
      Weights column[kPanels];
      unroll<kPanels>([&](auto p) M3E_INLINE {
        column[p] = load_weights(weights + p * panel_stride + step * kStepBytes);
      });
      unroll<kRows>([&](auto r) M3E_INLINE {
        const Codes value = splat_codes(rows[r] + step * kStepInputs);
        unroll<kPanels>([&](auto p) M3E_INLINE {
          sums[r][p] = dot(sums[r][p], value, column[p]);
          settle(sums[r][p]);
        });
      });
      rows.settle();
    });
    weights += kStepsTogether * kStepBytes;
    rows.advance(kStepsTogether * kStepInputs);
    ahead.advance();
  }
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE { totals[r * kPanels + p] = sums[r][p]; });
  });
}

// Sums of `count` rows of one panel, `step` apart, and where the end of their product is written.
struct Sums {
  const Ints* totals;
  int step;
  const float *scale, *minimum;
  float* out;
  int64_t stride;
  int count;
};

template <class Finish>
inline void restore_panel(const Sums& from, const Restore& restore, Finish finish) {
  const Sums sums = from;  // a local one: the compiler knows that no store changes it
  for (int r = 0; r < sums.count; ++r) {
    const float scale = sums.scale[r];
    const float minimum = kOffset > 0 ? sums.minimum[r] + kOffset * scale : sums.minimum[r];
    const int64_t at = r * sums.stride;
    store(sums.out + at, finish(restore(sums.totals[r * sums.step], scale, minimum), at));
  }
}

// The end of a product for one panel of a tile.
[[gnu::noinline]] inline void restore_panel(const Sums& sums, const Epilogue& to,
                                            const Restore& restore) {
  if (to.residual) {
    const float* residual = to.residual + (sums.out - to.out);
    restore_panel(sums, restore, [residual](Floats y, int64_t at) M3E_INLINE {
      return add(y, load(residual + at));
    });
  } else if (to.activation == Activation::gelu) {
    restore_panel(sums, restore, [](Floats y, int64_t) M3E_INLINE { return gelu_fast(y); });
  } else {
    restore_panel(sums, restore, [](Floats y, int64_t) M3E_INLINE { return y; });
  }
}

// The end of a gated product for one panel of a tile: it is activated, or it holds the factors of
// what the panel before it has left in its place.
[[gnu::noinline]] inline void gate_panel(const Sums& sums, Activation activation,
                                         const Restore& restore, bool factors) {
  if (factors) {
    const float* activated = sums.out;
    restore_panel(sums, restore, [activated](Floats y, int64_t at) M3E_INLINE {
      return mul(y, load(activated + at));
    });
    return;
  }
  with_activation<Accuracy::codes>(activation, [&](auto function) {
    restore_panel(sums, restore, [function](Floats y, int64_t) M3E_INLINE { return function(y); });
  });
}

// The end of a product, gated or not, for one vector.
inline void end_vector(const Epilogue& to, int row, int panel, Floats y) {
  if (!to.gated) return finish<gelu_fast>(to, row, panel, add_residual(to, row, panel, y));
  float* at = place_of(to, row, panel);
  if (panel % 2) return store(at, mul(y, load(at)));
  with_activation<Accuracy::codes>(to.activation, [&](auto function) { store(at, function(y)); });
}

template <int kPanels>
inline void int8_panels(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, Range rows,
                        int panel) {
  const int64_t bytes = bytes_of_panel(w);
  const int8_t* next = w.panels + (panel + kPanels) * bytes;
  Ints totals[kInt8TileRows * kPanels];
  for_row_tiles(rows, kInt8TileRows, [&](int row, int count) {
    const Ahead ahead(next, bytes, bytes, rows, row, count, bytes / (kLinesTogether * kLine));
    fetch_tile<kPanels>(to, row, count, panel);
    Constant<kInt8TileRows>::call(
        count, [&](auto tall) { sum_tile<tall.value, kPanels>(x, w, row, panel, ahead, totals); });
    for (int p = 0; p < kPanels; ++p) {
      const Sums sums{
          totals + p, kPanels, x.scale + row, x.minimum + row, place_of(to, row, panel + p),
          to.stride,  count};
      if (to.gated) {
        gate_panel(sums, to.activation, Restore(w, panel + p), (panel + p) % 2 != 0);
      } else {
        restore_panel(sums, to, Restore(w, panel + p));
      }
    }
  });
}

[[maybe_unused]] void gemm_int8(const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to,
                                Range rows, Range panels) {
  int panel = panels.begin;
  for (; panel + kInt8TilePanels <= panels.end; panel += kInt8TilePanels) {
    int8_panels<kInt8TilePanels>(x, w, to, rows, panel);
  }
  for (; panel < panels.end; ++panel) int8_panels<1>(x, w, to, rows, panel);
  if (to.residual && to.activation == Activation::gelu) apply(to, rows, panels, gelu_fast);
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
