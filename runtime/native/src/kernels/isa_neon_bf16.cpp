// SPDX-License-Identifier: Apache-2.0
#include "dot_neon.h"
// The instruction set comes first: the headers below are written in its terms.
#include "bfloat16_neon.h"

namespace m3e {

const Kernels& kernels_neon_i8mm();  // whose other kernels this set shares

const Kernels& kernels_neon_bf16() {
  static const Kernels made = [] {
    Kernels table = kernels_neon_i8mm();
    table.name = "neon_bf16";
    table.gemm_bfloat16 = gemm_bfloat16_matrices;
    table.rounds_to_odd = true;
    return table;
  }();
  return made;
}

}  // namespace m3e
