// SPDX-License-Identifier: Apache-2.0
// Poolings beyond the mean and the first token, which the kernels implement.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace m3e {

enum class Reduction { mean, first, max, mean_sqrt_length, weighted_mean, last };

// Earlier states whose mean is averaged with the mean of the last states.
enum class Early { none, words, embeddings, first_layer };

struct Pooling {
  std::vector<Reduction> parts;  // concatenated
  Early early = Early::none;

  // By its name in the metadata; throws Error for one that is not known.
  static Pooling named(const std::string& name);
  // Whether the kernels implement it.
  bool simple() const {
    return parts.size() == 1 && early == Early::none &&
           (parts[0] == Reduction::mean || parts[0] == Reduction::first);
  }
};

// Reduces some rows of the text that starts at `x` to one vector, [hidden]. If there are no rows,
// `first` gives the first row of the text, and the others give zeros. Plain loops are enough: one
// pass over the last states costs little beside a matrix product. The order of operations depends
// on the text only.
void reduce(Reduction reduction, const float* x, int stride, int hidden, Range rows, float* out);

// After a linear layer.
enum class HeadActivation { identity, tanh, relu, gelu, silu, sigmoid };

// By its name in the metadata; throws Error for one that is not known.
HeadActivation head_activation_named(const std::string& name);

// Both work in place. Plain loops are enough for one vector per text.
void apply(HeadActivation activation, float* x, int count);
void scale_to_unit_length(float* x, int count);

}  // namespace m3e
