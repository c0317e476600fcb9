// SPDX-License-Identifier: Apache-2.0
// The most multiply-adds per second that an instruction set can reach: the ceilings of a roofline.
#pragma once

#include <cstdint>
#include <vector>

namespace m3e {

// Loops over registers only, `rounds` times. They return the number of multiply-adds.
struct Ceiling {
  const char* instruction_set;
  int64_t (*int8)(int64_t rounds);
  int64_t (*float32)(int64_t rounds);
};

// Filled before main() by ceiling.cpp, which is compiled once for each instruction set.
std::vector<Ceiling>& ceilings();

}  // namespace m3e
