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
template <class Halves>
struct Widening {  // float16 that are kept as floats for the next tiles
  Halves halves;
  float* floats;  // or null
  static constexpr int64_t kStride = static_cast<int64_t>(kInputsBlock) * kPanelColumns;

  Floats operator()(int panel, int input) const {
    const Floats w = halves(panel, input);
    if (floats) store(floats + panel * kStride + static_cast<int64_t>(input) * kPanelColumns, w);
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
  const float* x;  // of the first of `rows` and input `first_input`
  int stride;
  Range rows;
  int first_input;
  const FloatMatrix& w;
  const Epilogue& to;
  float* widened;  // room for a block of weights; null if one tile has all rows

  int64_t offset(int row, int input) const {
    return static_cast<int64_t>(row - rows.begin) * stride + input - first_input;
  }
};

// Adds the sums of a block of inputs to what the blocks before it have given; ends the product
// after the last block.
template <int kRows, int kPanels>
M3E_INLINE inline void add_block(const FloatMatrix& w, const Epilogue& to, int row, int panel,
                                 Range inputs, const Floats (&sums)[kRows][kPanels]) {
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

// Sums each block of inputs from zero, and adds the sum to `to.out` or to the residual. A residual
// is often far larger than a product: products added to it one by one would lose digits.
template <int kRows, int kPanels, class Source>
[[gnu::noinline]] void float_tile(const FloatProduct& product, Source weights, int row, int panel,
                                  Range inputs, Ahead ahead) {
  Floats sums[kRows][kPanels];
  unroll<kRows>(
      [&](auto r) M3E_INLINE { unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); }); });
  accumulate(product.x + product.offset(row, inputs.begin), product.stride, weights, inputs.size(),
             ahead, sums);
  add_block(product.w, product.to, row, panel, inputs, sums);
}

// How a tile takes its weights: tile(product, weights, is the first tile, …).
template <class Stores>
struct AsStored {
  using Weights = Stores;
  template <int kRows, int kPanels>
  static void tile(const FloatProduct& product, Stored<Weights> weights, bool, int row, int panel,
                   Range inputs, Ahead ahead) {
    float_tile<kRows, kPanels>(product, weights, row, panel, inputs, ahead);
  }
};
struct WidenedOnce {
  using Weights = uint16_t;
  template <int kRows, int kPanels>
  static void tile(const FloatProduct& product, Stored<Weights> weights, bool first, int row,
                   int panel, Range inputs, Ahead ahead) {
    const Widening<Stored<uint16_t>> widening{weights, product.widened};
    if (first) return float_tile<kRows, kPanels>(product, widening, row, panel, inputs, ahead);
    float_tile<kRows, kPanels>(product, widening.widened(), row, panel, inputs, ahead);
  }
};

// Multiplies a block of weights with all rows.
template <int kRows, int kPanels, class Form, class Weights = typename Form::Weights>
inline void float_block(const FloatProduct& product, Stored<Weights> weights, const Weights* next,
                        Range rows, int panel, Range inputs) {
  const int64_t bytes = static_cast<int64_t>(inputs.size()) * kPanelColumns * sizeof(Weights);
  for_row_tiles(rows, kRows, [&](int row, int count) {
    const Ahead ahead(next, weights.stride * static_cast<int64_t>(sizeof(Weights)), bytes, rows,
                      row, count, inputs.size());
    Constant<kRows>::call(count, [&](auto tall) {
      Form::template tile<tall.value, kPanels>(product, weights, row == rows.begin, row, panel,
                                               inputs, ahead);
    });
  });
}

template <int kRows, int kPanels, class Form, class Weights = typename Form::Weights>
inline void float_panels(const FloatProduct& product, Stored<Weights> weights, Range rows,
                         int panel, Range inputs) {
  for_blocks(inputs, kInputsBlock, [&](Range block) {
    const Weights* next = block.end < inputs.end ? weights.at(panel, block.end)
                                                 : weights.at(panel + kPanels, inputs.begin);
    float_block<kRows, kPanels, Form>(product, {weights.at(panel, block.begin), weights.stride},
                                      next, rows, panel, block);
  });
}

// Multiplies rows and inputs that stay in the second-level cache.
template <int kRows, int kPanels, class Form>
inline void multiply_near(const FloatProduct& product, const typename Form::Weights* from,
                          Range rows, Range panels, Range inputs) {
  const Stored<typename Form::Weights> weights{
      from, static_cast<int64_t>(product.w.inputs) * kPanelColumns};
  int panel = panels.begin;
  for (; panel + kPanels <= panels.end; panel += kPanels) {
    float_panels<kRows, kPanels, Form>(product, weights, rows, panel, inputs);
  }
  for (; panel < panels.end; ++panel) {
    float_panels<kRows, 1, Form>(product, weights, rows, panel, inputs);
  }
}

template <class Body>
inline void for_near(Range rows, int inputs, Body body) {
  for_blocks({0, inputs}, kInputsNear, [&](Range near) {
    for_row_tiles(rows, kRowsNear,
                  [&](int row, int count) { body(Range{row, row + count}, near); });
  });
}

inline void gemm_float(const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                       Range rows, Range panels, float* scratch) {
  const FloatProduct product{x, stride, {0, rows.end}, 0, w, to, scratch};
  constexpr int kTall = kFloatTileRows, kWide = kFloatTilePanels;
  constexpr int kFew = kFewRows, kFewWide = kFewRowsPanels;
  const bool few = rows.size() <= kFewRows;
  for_near(rows, w.inputs, [&](Range some, Range inputs) {
    const float* floats = w.panels;
    const uint16_t* halves = w.half_panels;
    if (floats && few) {
      multiply_near<kFew, kFewWide, AsStored<float>>(product, floats, some, panels, inputs);
    } else if (floats) {
      multiply_near<kTall, kWide, AsStored<float>>(product, floats, some, panels, inputs);
    } else if (few) {
      multiply_near<kFew, kFewWide, AsStored<uint16_t>>(product, halves, some, panels, inputs);
    } else {
      multiply_near<kTall, kWide, WidenedOnce>(product, halves, some, panels, inputs);
    }
  });
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
