// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

void test_shape(const Kernels& kernels, NormKind norm, int rows, int hidden,
                const std::string& kind) {
  FloatGrid x = floats(rows, hidden);
  fill(x, kind);
  FloatGrid before = floats(rows, hidden);
  std::memcpy(before.data(), x.data(), x.buffer.bytes());
  std::vector<float> gamma(static_cast<size_t>(hidden)), beta(static_cast<size_t>(hidden));
  for (float& value : gamma) value = normal();
  for (float& value : beta) value = normal();
  const float epsilon = 1e-12f;
  const NormWeights weights{gamma.data(), beta.data(), epsilon};
  const auto normalize = norm == NormKind::rms ? kernels.rms_norm : kernels.layer_norm;
  FloatGrid apart = floats(rows, hidden);
  normalize(weights, hidden, x.data(), apart.data(), x.stride, {1, rows});
  normalize(weights, hidden, x.data(), x.data(), x.stride, {0, rows});
  for (int r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (int c = 0; c < hidden; ++c) mean += before.at(r, c);
    mean = norm == NormKind::rms ? 0 : mean / hidden;
    for (int c = 0; c < hidden; ++c) {
      variance += (before.at(r, c) - mean) * (before.at(r, c) - mean);
    }
    variance /= hidden;
    // Equal values leave only rounding errors, which may exceed epsilon. The result has to be
    // finite.
    const bool flat = variance < 1e-6 * mean * mean;
    for (int c = 0; c < hidden; ++c) {
      check(apart.at(r, c) == (r ? x.at(r, c) : 0), "value beside the row", apart.at(r, c),
            x.at(r, c));
      const size_t at = static_cast<size_t>(c);
      const double normalized =
          (before.at(r, c) - mean) / std::sqrt(variance + static_cast<double>(epsilon));
      const double expected =
          normalized * static_cast<double>(gamma[at]) + static_cast<double>(beta[at]);
      if (flat) {
        check(std::isfinite(x.at(r, c)), "normalized value of a flat row", x.at(r, c), expected);
      } else {
        check_near(x.at(r, c), expected, 2e-5 * (std::abs(expected) + 1), "normalized value");
      }
    }
  }
}

}  // namespace

void test_layer_norm(const Kernels& kernels) {
  for (const char* kind : kKinds) {
    if (std::string(kind) == "huge") continue;  // squares of 1e18 leave float32
    for (const int columns : {7, 16, 31, 64, 384, 515}) {
      run(kernels, std::string("layer_norm ") + kind + " " + std::to_string(columns),
          [&] { test_shape(kernels, NormKind::layer, 3, columns, kind); });
      run(kernels, std::string("rms_norm ") + kind + " " + std::to_string(columns),
          [&] { test_shape(kernels, NormKind::rms, 3, columns, kind); });
    }
  }
}

}  // namespace m3e
