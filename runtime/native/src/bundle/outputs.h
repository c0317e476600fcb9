// SPDX-License-Identifier: Apache-2.0
// What happens to vectors after the engine: truncation, normalization, quantization, similarity.
// The reference is m3e_runtime/outputs.py, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "m3e.h"

namespace m3e {

// Scales a vector to unit length. One shorter than 1e-12 is divided by 1e-12.
void normalize(float* vector, int32_t dimension);

struct OutputOptions {
  int32_t dimension = 0;  // leading dimensions that are kept
  bool normalize = false;
  m3e_output output = M3E_FLOAT32;
  const float* ranges = nullptr;  // [2, dimension]

  // Throws Error(argument) if ranges are needed and absent, or not finite, or `output` is unknown.
  void check() const;

  size_t vector_bytes() const;

  // Whether the vector of an engine that gives `full` dimensions is the result.
  bool is_identity(int32_t full) const;

  // Writes the vector_bytes() of `vector`, which changes.
  void apply(float* vector, void* result) const;
};

// Similarity of two vectors by a bundle's function.
float similarity(const float* a, const float* b, size_t dimension, const std::string& function);

}  // namespace m3e
