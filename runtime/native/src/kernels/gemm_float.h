// SPDX-License-Identifier: Apache-2.0
// Products of float rows with packed matrices.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

// Inputs of a panel that are reused while they are in the first-level cache.
constexpr int kInputsBlock = 384;
// Inputs and rows that stay in the second-level cache while all panels are processed.
constexpr int kInputsNear = 2 * kInputsBlock;
constexpr int kRowsNear = 128;

// One tile of the product: kRows × kPanels vectors, summed over `inputs` in order, one chain for
// each element. Weights is float or uint16_t (float16).
template <int kRows, int kPanels, class Weights, class Fetch>
M3E_INLINE inline void accumulate(const float* x, int64_t stride, const Weights* panels,
                                  int64_t panel_stride, int inputs, Fetch ahead,
                                  Floats (&sums)[kRows][kPanels]) {
  for (int k = 0; k < inputs; ++k) {
    Floats w[kPanels];
    unroll<kPanels>([&](auto p) M3E_INLINE {
      const Weights* from = panels + p * panel_stride + k * kPanelColumns;
      if constexpr (sizeof(Weights) == 2) {
        w[p] = load_half(from);
      } else {
        w[p] = load(from);
      }
      ahead(p, k);
    });
    unroll<kRows>([&](auto r) M3E_INLINE {
      const Floats value = splat(x[r * stride + k]);
      unroll<kPanels>([&](auto p) M3E_INLINE {
        sums[r][p] = fma(value, w[p], sums[r][p]);
        settle(sums[r][p]);
      });
    });
  }
}

template <class Weights>
struct FloatProduct {
  const float* x;
  int stride;
  const FloatMatrix& w;
  const Weights* weights;
  const Epilogue& to;

  int64_t panel_stride() const { return static_cast<int64_t>(w.inputs) * kPanelColumns; }
  const Weights* at(int panel, int input) const {
    return weights + panel * panel_stride() + static_cast<int64_t>(input) * kPanelColumns;
  }
};

// Sums each block of inputs from zero, and adds the sum to `to.out` or to the residual. A residual
// is often far larger than a product: products added to it one by one would lose digits.
template <int kRows, int kPanels, class Weights>
[[gnu::noinline]] void float_tile(const FloatProduct<Weights>& product, int row, int panel,
                                  Range inputs, Ahead ahead) {
  // Not structured bindings, which lambdas cannot capture in C++17.
  const FloatMatrix& w = product.w;
  const Epilogue& to = product.to;
  Floats sums[kRows][kPanels];
  unroll<kRows>(
      [&](auto r) M3E_INLINE { unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); }); });
  accumulate(product.x + static_cast<int64_t>(row) * product.stride + inputs.begin, product.stride,
             product.at(panel, inputs.begin), product.panel_stride(), inputs.size(), ahead, sums);
  float* out = to.out + static_cast<int64_t>(row) * to.stride + panel * kPanelColumns;
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE {
      float* at = out + static_cast<int64_t>(r) * to.stride + p * kPanelColumns;
      const Floats sum = inputs.begin ? add(load(at), sums[r][p])
                                      : add_residual(to, row + r, panel + p, sums[r][p]);
      if (inputs.end < w.inputs) {
        store(at, sum);
      } else {
        finish<gelu_exact>(to, row + r, panel + p,
                           add(sum, load(w.bias + (panel + p) * kPanelColumns)));
      }
    });
  });
}

template <int kRows, int kPanels, class Weights>
inline void float_panels(const FloatProduct<Weights>& product, Range rows, int panel,
                         Range inputs) {
  for_blocks(inputs, kInputsBlock, [&](Range block) {
    const Weights* next = block.end < inputs.end ? product.at(panel, block.end)
                                                 : product.at(panel + kPanels, inputs.begin);
    const int64_t bytes = static_cast<int64_t>(block.size()) * kPanelColumns * sizeof(Weights);
    for_row_tiles(rows, kRows, [&](int row, int count) {
      const Ahead ahead(next, product.panel_stride() * sizeof(Weights), bytes, rows, row, count,
                        block.size());
      Constant<kRows>::call(count, [&](auto tall) {
        float_tile<tall.value, kPanels>(product, row, panel, block, ahead);
      });
    });
  });
}

template <int kRows, int kPanels, class Weights>
inline void gemm_float_tiled(const FloatProduct<Weights>& product, Range rows, Range panels) {
  for_blocks({0, product.w.inputs}, kInputsNear, [&](Range inputs) {
    for_row_tiles(rows, kRowsNear, [&](int row, int count) {
      const Range near{row, row + count};
      int panel = panels.begin;
      for (; panel + kPanels <= panels.end; panel += kPanels) {
        float_panels<kRows, kPanels>(product, near, panel, inputs);
      }
      for (; panel < panels.end; ++panel) float_panels<kRows, 1>(product, near, panel, inputs);
    });
  });
}

template <class Weights>
inline void gemm_float_as(const FloatProduct<Weights>& product, Range rows, Range panels) {
  if (rows.size() <= kFewRows) {
    gemm_float_tiled<kFewRows, kFewRowsPanels>(product, rows, panels);
  } else {
    gemm_float_tiled<kFloatTileRows, kFloatTilePanels>(product, rows, panels);
  }
}

inline void gemm_float(const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                       Range rows, Range panels) {
  if (w.panels) {
    gemm_float_as<float>({x, stride, w, w.panels, to}, rows, panels);
  } else {
    gemm_float_as<uint16_t>({x, stride, w, w.half_panels, to}, rows, panels);
  }
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
