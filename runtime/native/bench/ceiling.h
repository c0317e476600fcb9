// How many multiply-adds an instruction set can do at most: the ceilings that a roofline needs.
#pragma once

#include <cstdint>
#include <vector>

namespace m3e {

// Loops over registers only, `rounds` times; they return how many multiply-adds that were.
struct Ceiling {
  const char* instruction_set;
  int64_t (*int8)(int64_t rounds);
  int64_t (*float32)(int64_t rounds);
};

// Filled before main() by ceiling.cpp, which is compiled once for each instruction set.
std::vector<Ceiling>& ceilings();

}  // namespace m3e
