// SPDX-License-Identifier: Apache-2.0
// How many threads compute a pack together.
#pragma once

#include "weights.h"

namespace m3e {

// From 1 to `threads`. The threads of a team wait for each other several times a layer. The wait is
// longer the more they are, and so are the shares of a short text too small for many threads. Every
// size gives the same vectors.
int team_size(const Weights& weights, int rows, int threads);

// `threads`, but no more than the processors that this process may use. A thread that waits for one
// that has no processor waits for the scheduler.
int with_a_processor_each(int threads);

}  // namespace m3e
