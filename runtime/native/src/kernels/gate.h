// SPDX-License-Identifier: Apache-2.0
// The gate of a feed-forward part: activated columns times their factors.
#pragma once

#include "activations.h"

namespace m3e {
namespace {

// Of products with float matrices. Those with 8-bit matrices are gated where they end: gemm_int8.h.
inline void gate(Activation activation, const float* x, int stride, float* out, int out_stride,
                 int panels, Range rows) {
  with_activation<Accuracy::exact>(activation, [&](auto function) {
    for (int row = rows.begin; row < rows.end; ++row) {
      const float* from = x + static_cast<int64_t>(row) * stride;
      float* to = out + static_cast<int64_t>(row) * out_stride;
      for (int panel = 0; panel < panels; ++panel) {
        const Floats activated = function(load(from + 2 * panel * kPanelColumns));
        store(to + panel * kPanelColumns,
              mul(activated, load(from + (2 * panel + 1) * kPanelColumns)));
      }
    }
  });
}

}  // namespace
}  // namespace m3e
