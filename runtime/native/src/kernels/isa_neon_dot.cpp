// SPDX-License-Identifier: Apache-2.0
#include "dot_neon.h"
// The instruction set comes first: the headers below are written in its terms.
#include "gemm_int8.h"

namespace m3e {

const Kernels& kernels_neon();

const Kernels& kernels_neon_dot() {
  static const Kernels made = [] {
    Kernels table = kernels_neon();  // its products of floats are the same
    table.name = "neon_dot";
    table.gemm_int8 = gemm_int8;
    return table;
  }();
  return made;
}

}  // namespace m3e
