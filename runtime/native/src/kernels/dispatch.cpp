// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels.h"
#include "processor.h"

namespace m3e {

// The build writes instruction_sets.inc: M3E_SET(name, needs) for each set that the compiler knows,
// fastest first, without "portable"; `needs` is the member of Processor that it needs.
// Each function is compiled for its instruction set, and called only where the processor has that.
using MakeKernels = const Kernels&();
MakeKernels kernels_portable;
#define M3E_SET(name, needs) MakeKernels kernels_##name;
#include "instruction_sets.inc"
#undef M3E_SET

namespace {

struct Choice {
  MakeKernels* kernels;
  bool supported;
};

// Fastest first; calls visit(kernels) until it returns true.
template <class Visit>
void each_supported(Visit visit) {
  const Processor& cpu = processor();
  (void)cpu;
  const Choice choices[] = {
#define M3E_SET(name, needs) {kernels_##name, cpu.needs},
#include "instruction_sets.inc"
#undef M3E_SET
      {kernels_portable, true},
  };
  for (const Choice& choice : choices) {
    if (choice.supported && visit(choice.kernels())) return;
  }
}

}  // namespace

const Kernels* find_kernels(const char* name) {
  const Kernels* found = nullptr;
  each_supported([&](const Kernels& kernels) {
    if (name && std::strcmp(name, kernels.name) != 0) return false;
    found = &kernels;
    return true;
  });
  return found;
}

int supported_kernels(const char** names, int capacity) {
  int count = 0;
  each_supported([&](const Kernels& kernels) {
    if (count < capacity) names[count] = kernels.name;
    ++count;
    return false;
  });
  return count;
}

}  // namespace m3e
