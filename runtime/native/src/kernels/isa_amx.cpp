// SPDX-License-Identifier: Apache-2.0
#include "dot_avx512vnni.h"
// The instruction set comes first: the headers below are written in its terms.
#include "attention_int16.h"
#include "gemm_int8_amx.h"

namespace m3e {

const Kernels& kernels_avx512();

const Kernels& kernels_amx() {
  static const Kernels made = [] {
    Kernels table = kernels_avx512();  // its products of floats are the same
    table.name = "amx";
    table.gemm_int8 = gemm_int8_amx;
    table.attention_rounded = attention_int16;
    return table;
  }();
  return made;
}

}  // namespace m3e
