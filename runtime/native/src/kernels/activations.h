// SPDX-License-Identifier: Apache-2.0
// The functions of the activations.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

enum class Accuracy {
  exact,
  codes  // enough if the results become 8-bit codes
};

// Calls body(function) with the function of an activation, so that a loop in it has no branches.
template <Accuracy kAccuracy, class Body>
inline void with_activation(Activation activation, Body body) {
  constexpr bool kExact = kAccuracy == Accuracy::exact;
  switch (activation) {
    case Activation::none:
      return body([](Floats x) M3E_INLINE { return x; });
    case Activation::gelu:
      return body([](Floats x) M3E_INLINE { return kExact ? gelu_exact(x) : gelu_fast(x); });
    case Activation::gelu_tanh:
      return body([](Floats x) M3E_INLINE { return gelu_tanh(x); });
    case Activation::quick_gelu:
      return body([](Floats x) M3E_INLINE { return quick_gelu(x); });
    case Activation::relu:
      return body([](Floats x) M3E_INLINE { return relu(x); });
    case Activation::silu:
      return body([](Floats x) M3E_INLINE { return kExact ? silu(x) : silu_fast(x); });
  }
}

}  // namespace
}  // namespace m3e
