// SPDX-License-Identifier: Apache-2.0
// The kernels of isa_amx.cpp on emulated tiles: for every processor that has AVX512-VNNI.
#include "dot_avx512vnni.h"
#include "pairs_avx512.h"
// The instruction set comes first: the headers below are written in its terms.
#include "emulated_tiles.h"
// The kernels name its functions as Intel's.
#include "amx_kernels.h"

namespace m3e {

const Kernels& kernels_avx512();

const Kernels& kernels_amx_emulated() {
  static const Kernels made = with_tiles(kernels_avx512(), "amx_emulated");
  return made;
}

}  // namespace m3e
