// SPDX-License-Identifier: Apache-2.0
// Every kernel of every instruction set that runs here, against plain loops in double precision, on
// random and adversarial shapes and values.
#include "kernel_tests.h"

#include <cstdio>

using namespace m3e;

int main() {
  const char* names[16];
  const int count = supported_kernels(names, 16);
  for (int i = 0; i < count; ++i) {
    const Kernels& kernels = *find_kernels(names[i]);
    const int before = checks;
    kernels.prepare_thread();
    test_quantize(kernels);
    test_layer_norm(kernels);
    test_rotation(kernels);
    test_gate(kernels);
    test_gemm_int8(kernels);
    test_gemm_float(kernels);
    test_attention(kernels);
    test_embed(kernels);
    test_pool(kernels);
    test_same_bytes(kernels);
    kernels.release_thread();
    std::printf("%s: %d checks passed\n", names[i], checks - before);
  }
  test_pooling();
  return find_kernels("no such") != nullptr;
}
