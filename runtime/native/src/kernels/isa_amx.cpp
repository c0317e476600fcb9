// SPDX-License-Identifier: Apache-2.0
#include "dot_avx512vnni.h"
#include "pairs_avx512.h"
// The instruction set comes first: the headers below are written in its terms.
#include "attention_int16.h"
#include "gemm_int8_amx.h"
#include "products.h"

namespace m3e {

const Kernels& kernels_avx512();  // whose kernels on floats this set shares

const Kernels& kernels_amx() {
  static const Kernels made =
      with_products(kernels_avx512(), "amx", gemm_int8_amx, attention_int16);
  return made;
}

}  // namespace m3e
