// SPDX-License-Identifier: Apache-2.0
// What each token gets besides its state: a weight and a vector, as bge-m3 computes them.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "weights.h"

namespace m3e {

// Where the outputs of tokens are written.
struct TokenOutput {
  float* weights = nullptr;  // [tokens], or null
  float* vectors = nullptr;  // [tokens][vector_size], or null

  bool any() const { return weights || vectors; }
  TokenOutput from(int64_t token, const TokenHeads& heads) const {
    return {weights ? weights + token : nullptr,
            vectors ? vectors + token * heads.vector_size() : nullptr};
  }
};

// Floats of scratch that apply_token_heads needs.
int64_t token_scratch(const TokenHeads& heads);

// Applies the heads to `rows` of the states `x`. A token's outputs depend on its state only.
void apply_token_heads(const TokenHeads& heads, const Kernels& kernels, const float* x, int stride,
                       Range rows, const TokenOutput& output, float* scratch);

}  // namespace m3e
