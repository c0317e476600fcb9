// SPDX-License-Identifier: Apache-2.0
#include "dot_avx512vnni.h"
// The instruction set comes first: the headers below are written in its terms.
#include "bfloat16_avx512.h"

namespace m3e {

const Kernels& kernels_avx512vnni();  // whose other kernels this set shares

const Kernels& kernels_avx512bf16() {
  static const Kernels made = [] {
    Kernels table = kernels_avx512vnni();
    table.name = "avx512bf16";
    table.gemm_bfloat16 = gemm_bfloat16_pairs;
    return table;
  }();
  return made;
}

}  // namespace m3e
