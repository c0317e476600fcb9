#include "dot_avxvnni.h"
// The instruction set comes first: what follows is written in its terms.
#include "attention_int16.h"
#include "gemm_int8.h"

namespace m3e {

extern const Kernels kernels_avxvnni;
const Kernels kernels_avxvnni = {"avxvnni",  embed,     layer_norm,      quantize, gemm_int8,
                                 gemm_float, attention, attention_int16, pool};

}  // namespace m3e
