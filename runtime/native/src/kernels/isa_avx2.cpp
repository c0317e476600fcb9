// SPDX-License-Identifier: Apache-2.0
#include "dot_avx2.h"
#include "pairs_avx2.h"
// The instruction set comes first: the headers below are written in its terms.
#include "attention_int16.h"
#include "gemm_int8.h"
#include "products.h"
#include "shared_kernels.h"

namespace m3e {

const Kernels& kernels_avx2() {
  static const Kernels made = with_products(shared_kernels(), "avx2", gemm_int8, attention_int16);
  return made;
}

}  // namespace m3e
