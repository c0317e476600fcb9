// SPDX-License-Identifier: Apache-2.0
#include "dot_avx512vnni.h"
#include "pairs_avx512.h"
// The instruction set comes first: the headers below are written in its terms.
#include "amx_kernels.h"
#include "processor.h"

namespace m3e {

// Whose kernels on floats this set shares. A virtual machine may lack products of bfloat16.
const Kernels& kernels_avx512();
const Kernels& kernels_avx512bf16();

const Kernels& kernels_amx() {
  static const Kernels made =
      with_tiles(processor().avx512bf16 ? kernels_avx512bf16() : kernels_avx512(), "amx");
  return made;
}

}  // namespace m3e
