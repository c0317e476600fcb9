// SPDX-License-Identifier: Apache-2.0
// The kernels that every instruction set has in the same form. Include a dot_*.h first.
#pragma once

#include "attention.h"
#include "bfloat16.h"
#include "gate.h"
#include "gemm_float.h"
#include "rows.h"

namespace m3e {
namespace {

// A table that lacks its name, gemm_int8 and attention_rounded.
constexpr Kernels shared_kernels() {
  Kernels table{};
  table.prepare_thread = table.release_thread = [] {};
  table.embed = embed;
  table.layer_norm = normalize<NormKind::layer>;
  table.rms_norm = normalize<NormKind::rms>;
  table.rotate = rotate;
  table.quantize = quantize;
  table.gate = gate;
  table.gemm_float = gemm_float;
  table.gemm_bfloat16 = gemm_bfloat16;
  table.attention = attention;
  table.pool = pool;
  return table;
}

}  // namespace
}  // namespace m3e
