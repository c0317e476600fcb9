// SPDX-License-Identifier: Apache-2.0
#include "dot_avx512vnni.h"
// The instruction set comes first: the headers below are written in its terms.
#include "attention_int16.h"
#include "gemm_int8_amx.h"
#include "shared_kernels.h"

namespace m3e {

extern const Kernels kernels_amx;
constexpr Kernels kernels_amx = [] {
  Kernels table = shared_kernels("amx");
  table.gemm_int8 = gemm_int8_amx;
  table.attention_rounded = attention_int16;
  return table;
}();

}  // namespace m3e
