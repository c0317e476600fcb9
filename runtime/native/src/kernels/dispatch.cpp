#include <cstring>

#include "kernels.h"
#include "processor.h"

namespace m3e {

// Each is compiled for its instruction set, and called only where the processor has that.
using MakeKernels = const Kernels&();
MakeKernels kernels_portable;
#if defined(__x86_64__)
MakeKernels kernels_avx2, kernels_avxvnni, kernels_avx512, kernels_avx512vnni, kernels_amx;
#elif defined(__aarch64__)
MakeKernels kernels_neon, kernels_neon_dot, kernels_neon_i8mm;
#endif

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
#if defined(__x86_64__)
      {kernels_amx, cpu.amx},         {kernels_avx512vnni, cpu.avx512vnni},
      {kernels_avxvnni, cpu.avxvnni}, {kernels_avx512, cpu.avx512},
      {kernels_avx2, cpu.avx2},
#elif defined(__aarch64__)
      {kernels_neon_i8mm, cpu.neon_i8mm},
      {kernels_neon_dot, cpu.neon_dot},
      {kernels_neon, cpu.neon},
#endif
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
