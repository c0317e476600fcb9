// SPDX-License-Identifier: Apache-2.0
#include "scores.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace m3e {
namespace {

float sigmoid(float logit) {
  return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(logit))));
}

void softmax(float* logits, int32_t labels) {
  const double largest = *std::max_element(logits, logits + labels);
  std::vector<double> powers;
  double sum = 0;
  for (int32_t i = 0; i < labels; ++i) {
    powers.push_back(std::exp(logits[i] - largest));
    sum += powers.back();
  }
  for (int32_t i = 0; i < labels; ++i) {
    logits[i] = static_cast<float>(powers[static_cast<size_t>(i)] / sum);
  }
}

}  // namespace

void ScoreOptions::apply(float* logits, int32_t labels) const {
  if (sigmoid) std::transform(logits, logits + labels, logits, m3e::sigmoid);
  if (softmax && labels > 1) m3e::softmax(logits, labels);
}

}  // namespace m3e
