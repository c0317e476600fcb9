// From the states of a text's tokens to its vector, beyond the mean and the first token.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace m3e {

enum class Reduction { mean, first, max, mean_sqrt_length, weighted_mean, last };

// States whose mean is averaged with that of the last layer's.
enum class Early { none, words, embeddings, first_layer };

struct Pooling {
  std::vector<Reduction> parts;  // laid side by side
  Early early = Early::none;

  // By its name in the metadata; throws Error for one that is not known.
  static Pooling named(const std::string& name);
  // What the kernels' own pooling does.
  bool simple() const {
    return parts.size() == 1 && early == Early::none &&
           (parts[0] == Reduction::mean || parts[0] == Reduction::first);
  }
};

// One vector, [hidden], of some rows of the text that starts at `x`. Of no rows: `first` is the
// text's first all the same, the others zeros. Plain loops: this is one pass over the states of the
// last layer, next to nothing beside any product. The order of operations depends on nothing but
// the text.
void reduce(Reduction reduction, const float* x, int stride, int hidden, Range rows, float* out);

// After a linear layer.
enum class HeadActivation { identity, tanh, relu, gelu, silu, sigmoid };

// By its name in the metadata; throws Error for one that is not known.
HeadActivation head_activation_named(const std::string& name);

// In place: an activation, and scaling to unit length. Plain loops: one vector of each text is all
// there is.
void apply(HeadActivation activation, float* x, int count);
void scale_to_unit_length(float* x, int count);

}  // namespace m3e
