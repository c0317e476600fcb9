// SPDX-License-Identifier: Apache-2.0
#include "dot_portable.h"
// The instruction set comes first: the headers below are written in its terms.
#include "gemm_int8.h"
#include "shared_kernels.h"

namespace m3e {

extern const Kernels kernels_portable;
constexpr Kernels kernels_portable = [] {
  Kernels table = shared_kernels("portable");
  table.gemm_int8 = gemm_int8;
  table.attention_rounded = attention;
  return table;
}();

}  // namespace m3e
