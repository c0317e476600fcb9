#include "dot_avx512.h"
// The instruction set comes first: what follows is written in its terms.
#include "attention.h"
#include "gemm_int8.h"

namespace m3e {

extern const Kernels kernels_avx512;
const Kernels kernels_avx512 = {"avx512",   embed,     layer_norm, quantize, gemm_int8,
                                gemm_float, attention, attention,  pool};

}  // namespace m3e
