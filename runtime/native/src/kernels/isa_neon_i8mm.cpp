// SPDX-License-Identifier: Apache-2.0
#include "dot_neon.h"
// The instruction set comes first: the headers below are written in its terms.
#include "gemm_int8_i8mm.h"
#include "products.h"

namespace m3e {

const Kernels& kernels_neon();  // whose kernels on floats this set shares

const Kernels& kernels_neon_i8mm() {
  static const Kernels made =
      with_products(kernels_neon(), "neon_i8mm", gemm_int8_i8mm, kernels_neon().attention_rounded);
  return made;
}

}  // namespace m3e
