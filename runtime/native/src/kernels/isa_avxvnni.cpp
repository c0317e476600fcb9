// SPDX-License-Identifier: Apache-2.0
#include "dot_avxvnni.h"
// The instruction set comes first: the headers below are written in its terms.
#include "attention_int16.h"
#include "gemm_int8.h"
#include "shared_kernels.h"

namespace m3e {

extern const Kernels kernels_avxvnni;
constexpr Kernels kernels_avxvnni = [] {
  Kernels table = shared_kernels("avxvnni");
  table.gemm_int8 = gemm_int8;
  table.attention_rounded = attention_int16;
  return table;
}();

}  // namespace m3e
