// SPDX-License-Identifier: Apache-2.0
#include "token_heads.h"

#include <algorithm>

#include "pooling.h"

namespace m3e {
namespace {

constexpr int kTokens = 128;  // that are computed together, so that their outputs stay in cache

// Keeps rows in different cache sets when the width is a power of two.
constexpr int kStrideGap = 16;

int scratch_stride(int width) { return round_up(width, kPanelColumns) + kStrideGap; }

// The product of `rows` of the states with a head; writes to `scratch`, beginning with its first
// row.
void multiply(const Matrix& head, const Kernels& kernels, const float* x, int stride, Range rows,
              float* scratch) {
  kernels.gemm_float(x + static_cast<int64_t>(rows.begin) * stride, stride, head.floats,
                     {scratch, scratch_stride(head.floats.outputs), nullptr, Activation::none},
                     {0, rows.size()}, {0, head.panels()}, nullptr);
}

void write_weights(const float* products, Range rows, float* weights) {
  const int stride = scratch_stride(1);
  for (int row = rows.begin; row < rows.end; ++row) {
    weights[row] = std::max(products[static_cast<int64_t>(row - rows.begin) * stride], 0.0f);
  }
}

void write_vectors(const float* products, Range rows, const TokenHeads& heads, float* vectors) {
  const int width = heads.vector_size(), stride = scratch_stride(width);
  for (int row = rows.begin; row < rows.end; ++row) {
    const float* from = products + static_cast<int64_t>(row - rows.begin) * stride;
    float* to = vectors + static_cast<int64_t>(row) * width;
    std::copy(from, from + width, to);
    if (heads.unit_length) scale_to_unit_length(to, width);
  }
}

}  // namespace

int64_t token_scratch(const TokenHeads& heads) {
  return static_cast<int64_t>(kTokens) * scratch_stride(heads.widest());
}

void apply_token_heads(const TokenHeads& heads, const Kernels& kernels, const float* x, int stride,
                       Range rows, const TokenOutput& output, float* scratch) {
  for (int begin = rows.begin; begin < rows.end; begin += kTokens) {
    const Range some{begin, std::min(begin + kTokens, rows.end)};
    if (output.weights) {
      multiply(heads.weight, kernels, x, stride, some, scratch);
      write_weights(scratch, some, output.weights);
    }
    if (output.vectors) {
      multiply(heads.vector, kernels, x, stride, some, scratch);
      write_vectors(scratch, some, heads, output.vectors);
    }
  }
}

}  // namespace m3e
