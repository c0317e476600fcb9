// SPDX-License-Identifier: Apache-2.0
// What happens to logits after the engine. The reference is m3e_runtime/scores.py.
#pragma once

#include <cstdint>

namespace m3e {

struct ScoreOptions {
  bool sigmoid = false;
  bool softmax = false;  // after the sigmoid, of several labels

  // Makes scores of the logits of one text or pair, in place. Computes in double: a score does not
  // depend on how many there are, to the last bit.
  void apply(float* logits, int32_t labels) const;
};

}  // namespace m3e
