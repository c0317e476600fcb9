// SPDX-License-Identifier: Apache-2.0
#include "dot_portable.h"
// The instruction set comes first: the headers below are written in its terms.
#include "gemm_int8.h"
#include "products.h"
#include "shared_kernels.h"

namespace m3e {

const Kernels& kernels_portable() {
  static const Kernels made = with_products(shared_kernels(), "portable", gemm_int8, attention);
  return made;
}

}  // namespace m3e
