#include "dot_avx512vnni.h"
// The instruction set comes first: what follows is written in its terms.
#include "attention_int16.h"
#include "gemm_int8_amx.h"

namespace m3e {

extern const Kernels kernels_amx;
const Kernels kernels_amx = {"amx",      embed,     layer_norm,      quantize, gemm_int8_amx,
                             gemm_float, attention, attention_int16, pool};

}  // namespace m3e
