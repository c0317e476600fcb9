#include "dot_neon.h"
// The instruction set comes first: what follows is written in its terms.
#include "attention.h"
#include "gemm_int8_i8mm.h"

namespace m3e {

extern const Kernels kernels_neon_i8mm;
const Kernels kernels_neon_i8mm = {"neon_i8mm", embed,     layer_norm, quantize, gemm_int8_i8mm,
                                   gemm_float,  attention, attention,  pool};

}  // namespace m3e
