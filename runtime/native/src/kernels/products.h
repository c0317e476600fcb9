// SPDX-License-Identifier: Apache-2.0
// A table of kernels with the products of 8 bits, and the attention, of an instruction set. Not a
// shared function: each copy is compiled for its instruction set.
#pragma once

#include "kernels.h"

namespace m3e {
namespace {

inline Kernels with_products(Kernels table, const char* name, decltype(Kernels::gemm_int8) product,
                             decltype(Kernels::attention_rounded) attention) {
  table.name = name;
  table.gemm_int8 = product;
  table.attention_rounded = attention;
  return table;
}

}  // namespace
}  // namespace m3e
