// SPDX-License-Identifier: Apache-2.0
#include "dot_neon.h"
// The instruction set comes first: the headers below are written in its terms.
#include "gemm_int8_i8mm.h"
#include "shared_kernels.h"

namespace m3e {

extern const Kernels kernels_neon_i8mm;
constexpr Kernels kernels_neon_i8mm = [] {
  Kernels table = shared_kernels("neon_i8mm");
  table.gemm_int8 = gemm_int8_i8mm;
  table.attention_rounded = attention;
  return table;
}();

}  // namespace m3e
