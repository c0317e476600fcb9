// SPDX-License-Identifier: Apache-2.0
#include "dot_sse.h"
// The instruction set comes first: the headers below are written in its terms.
#include "gemm_int8.h"
#include "products.h"
#include "shared_kernels.h"

namespace m3e {

const Kernels& kernels_sse41() {
  static const Kernels made = with_products(shared_kernels(), "sse41", gemm_int8, attention);
  return made;
}

}  // namespace m3e
