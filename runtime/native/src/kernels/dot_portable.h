// SPDX-License-Identifier: Apache-2.0
// Four-way dot products in plain C++.
#pragma once

#include "vec_portable.h"

namespace m3e {
namespace {

constexpr int kInt8TileRows = 4;
constexpr int kInt8TilePanels = 1;
constexpr int kStepInputs = 4;
constexpr float kOffset = 0;

using Weights = const int8_t*;
using Codes = const uint8_t*;

inline Weights load_weights(const int8_t* p) { return p; }
inline Codes splat_codes(const uint8_t* p) { return p; }
inline Ints no_sum() { return Ints{}; }

inline Ints dot(const Ints& sum, Codes codes, Weights weights) {
  Ints out;
  for (int i = 0; i < 16; ++i) {
    int32_t lane = sum.lane[i];
    for (int k = 0; k < 4; ++k) lane += codes[k] * weights[4 * i + k];
    out.lane[i] = lane;
  }
  return out;
}

}  // namespace
}  // namespace m3e
