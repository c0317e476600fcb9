// SPDX-License-Identifier: Apache-2.0
#include "team_size.h"

#include <algorithm>
#include <cmath>
#include <thread>

namespace m3e {
namespace {

// Multiply-adds by which one more thread delays a layer: eight waits, each longer by some 0.2 µs.
// A team of n threads computes a layer in work / n + n · kDelay, which is least for
// n = sqrt(work / kDelay).
constexpr double kDelay = 1 << 19;
constexpr double kFloatCost = 4;  // time of a float multiply-add, relative to one of int8
constexpr int kLeastRows = 4;     // fewer rows take as long, because all weights are read

double cost_per_row(const Matrix& matrix) {
  const int inputs = matrix.is_int8() ? matrix.int8.inputs : matrix.floats.inputs;
  return static_cast<double>(inputs) * matrix.outputs() * (matrix.is_int8() ? 1 : kFloatCost);
}

}  // namespace

int team_size(const Weights& weights, int rows, int threads) {
  double cost = 0;
  int narrowest = threads;
  const Layer& layer = weights.layers.front();
  for (const Matrix* matrix :
       {&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output}) {
    cost += cost_per_row(*matrix);
    narrowest = std::min(narrowest, matrix->panels());
  }
  const double worth = std::sqrt(cost * std::max(rows, kLeastRows) / kDelay);
  return std::max(1, std::min(narrowest, static_cast<int>(std::min<double>(worth, threads))));
}

int with_a_processor_each(int threads) {
  const auto processors = static_cast<int>(std::thread::hardware_concurrency());  // 0: not known
  return processors > 0 ? std::min(threads, processors) : threads;
}

}  // namespace m3e
