// SPDX-License-Identifier: Apache-2.0
// What tiles change in a table of kernels.
#pragma once

#include "attention_tiles.h"
#include "gemm_int8_amx.h"
#include "products.h"

namespace m3e {
namespace {

inline Kernels with_tiles(const Kernels& others, const char* name) {
  Kernels table = with_products(others, name, gemm_int8_amx, attention_tiles);
  table.prepare_thread = configure_tiles;
  table.release_thread = release_tiles;
  return table;
}

}  // namespace
}  // namespace m3e
