#include "dot_neon.h"
// The instruction set comes first: what follows is written in its terms.
#include "attention.h"
#include "gemm_int8.h"

namespace m3e {

extern const Kernels kernels_neon_dot;
const Kernels kernels_neon_dot = {"neon_dot", embed,     layer_norm, quantize, gemm_int8,
                                  gemm_float, attention, attention,  pool};

}  // namespace m3e
