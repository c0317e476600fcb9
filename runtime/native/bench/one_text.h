// SPDX-License-Identifier: Apache-2.0
// What the programs that measure forward passes compute.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

#include "forward.h"

namespace m3e {

// One text of some token ids, and room for its vector.
class OneText {
 public:
  OneText(const Weights& weights, int tokens)
      : ids_(static_cast<size_t>(tokens)),
        offsets_{0, tokens},
        vector_(static_cast<size_t>(weights.sizes.dimension)) {
    for (int i = 0; i < tokens; ++i) {
      ids_[static_cast<size_t>(i)] = (i * 7919 + 11) % weights.sizes.vocabulary;
    }
  }
  Pack pack() { return {ids_.data(), offsets_, 1, {vector_.data(), nullptr}}; }

 private:
  std::vector<int32_t> ids_;
  int64_t offsets_[2];
  std::vector<float> vector_;
};

// The kernels called `name`, or the fastest for "-". Returns null, and says so, if they do not run
// here.
inline const Kernels* kernels_named(const char* name) {
  const Kernels* found = find_kernels(std::strcmp(name, "-") ? name : nullptr);
  if (!found) std::fprintf(stderr, "instruction set '%s' does not run here\n", name);
  return found;
}

}  // namespace m3e
