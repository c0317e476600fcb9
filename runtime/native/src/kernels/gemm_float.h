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

// The weights of a tile's panels: source(p, k) gives those of input k in panel p, once for each.
template <class Weights>
struct Stored {  // as float or uint16_t (float16)
  const Weights* from;
  int64_t stride;

  const Weights* at(int panel, int input) const {
    return from + panel * stride + static_cast<int64_t>(input) * kPanelColumns;
  }
  Floats operator()(int panel, int input) const {
    if constexpr (sizeof(Weights) == 2) {
      return load_half(at(panel, input));
    } else {
      return load(at(panel, input));
    }
  }
};
struct Widening {  // float16 that are kept as floats for the next tiles
  Stored<uint16_t> halves;
  float* floats;
  static constexpr int64_t kStride = static_cast<int64_t>(kInputsBlock) * kPanelColumns;

  Floats operator()(int panel, int input) const {
    const Floats w = halves(panel, input);
    store(floats + panel * kStride + static_cast<int64_t>(input) * kPanelColumns, w);
    return w;
  }
  Stored<float> widened() const { return {floats, kStride}; }
};

// One tile of the product: kRows × kPanels vectors, summed over `inputs` in order, one chain for
// each element.
template <int kRows, int kPanels, class Source, class Fetch>
M3E_INLINE inline void accumulate(const float* x, int64_t stride, Source source, int inputs,
                                  Fetch ahead, Floats (&sums)[kRows][kPanels]) {
  for (int k = 0; k < inputs; ++k) {
    Floats w[kPanels];
    unroll<kPanels>([&](auto p) M3E_INLINE {
      w[p] = source(p, k);
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
template <int kRows, int kPanels, class Weights, class Fetch>
M3E_INLINE inline void accumulate(const float* x, int64_t stride, const Weights* panels,
                                  int64_t panel_stride, int inputs, Fetch ahead,
                                  Floats (&sums)[kRows][kPanels]) {
  accumulate(x, stride, Stored<Weights>{panels, panel_stride}, inputs, ahead, sums);
}

struct FloatProduct {
  const float* x;
  int stride;
  const FloatMatrix& w;
  const Epilogue& to;
  float* scratch;
};

// Sums each block of inputs from zero, and adds the sum to `to.out` or to the residual. A residual
// is often far larger than a product: products added to it one by one would lose digits.
template <int kRows, int kPanels, class Source>
[[gnu::noinline]] void float_tile(const FloatProduct& product, Source weights, int row, int panel,
                                  Range inputs, Ahead ahead) {
  // Not structured bindings, which lambdas cannot capture in C++17.
  const FloatMatrix& w = product.w;
  const Epilogue& to = product.to;
  Floats sums[kRows][kPanels];
  unroll<kRows>(
      [&](auto r) M3E_INLINE { unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); }); });
  accumulate(product.x + static_cast<int64_t>(row) * product.stride + inputs.begin, product.stride,
             weights, inputs.size(), ahead, sums);
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

// Multiplies a block of weights with all rows.
template <int kRows, int kPanels, class Weights, bool kWiden>
inline void float_block(const FloatProduct& product, Stored<Weights> weights, const Weights* next,
                        Range rows, int panel, Range inputs) {
  const int64_t bytes = static_cast<int64_t>(inputs.size()) * kPanelColumns * sizeof(Weights);
  for_row_tiles(rows, kRows, [&](int row, int count) {
    const Ahead ahead(next, weights.stride * static_cast<int64_t>(sizeof(Weights)), bytes, rows,
                      row, count, inputs.size());
    Constant<kRows>::call(count, [&](auto tall) {
      const auto tile = [&](auto source) {
        float_tile<tall.value, kPanels>(product, source, row, panel, inputs, ahead);
      };
      if constexpr (kWiden) {
        const Widening widening{weights, product.scratch};
        row == rows.begin ? tile(widening) : tile(widening.widened());
      } else {
        tile(weights);
      }
    });
  });
}

template <int kRows, int kPanels, class Weights, bool kWiden>
inline void float_panels(const FloatProduct& product, Stored<Weights> weights, Range rows,
                         int panel, Range inputs) {
  for_blocks(inputs, kInputsBlock, [&](Range block) {
    const Weights* next = block.end < inputs.end ? weights.at(panel, block.end)
                                                 : weights.at(panel + kPanels, inputs.begin);
    float_block<kRows, kPanels, Weights, kWiden>(
        product, {weights.at(panel, block.begin), weights.stride}, next, rows, panel, block);
  });
}

template <int kRows, int kPanels, bool kWiden = false, class Weights>
inline void gemm_float_tiled(const FloatProduct& product, const Weights* panels_from, Range rows,
                             Range panels) {
  const Stored<Weights> weights{panels_from,
                                static_cast<int64_t>(product.w.inputs) * kPanelColumns};
  for_blocks({0, product.w.inputs}, kInputsNear, [&](Range inputs) {
    for_row_tiles(rows, kRowsNear, [&](int row, int count) {
      const Range near{row, row + count};
      int panel = panels.begin;
      for (; panel + kPanels <= panels.end; panel += kPanels) {
        float_panels<kRows, kPanels, Weights, kWiden>(product, weights, near, panel, inputs);
      }
      for (; panel < panels.end; ++panel) {
        float_panels<kRows, 1, Weights, kWiden>(product, weights, near, panel, inputs);
      }
    });
  });
}

inline void gemm_float(const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                       Range rows, Range panels, float* scratch) {
  const FloatProduct product{x, stride, w, to, scratch};
  const bool few = rows.size() <= kFewRows;
  if (w.panels && few) {
    gemm_float_tiled<kFewRows, kFewRowsPanels>(product, w.panels, rows, panels);
  } else if (w.panels) {
    gemm_float_tiled<kFloatTileRows, kFloatTilePanels>(product, w.panels, rows, panels);
  } else if (few) {
    gemm_float_tiled<kFewRows, kFewRowsPanels>(product, w.half_panels, rows, panels);
  } else {
    gemm_float_tiled<kFloatTileRows, kFloatTilePanels, true>(product, w.half_panels, rows, panels);
  }
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
