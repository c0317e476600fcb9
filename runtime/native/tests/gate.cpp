// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "kernel_tests.h"

namespace m3e {
namespace {

void test_case(const Kernels& kernels, Activation activation, int panels) {
  const int rows = 3;
  FloatGrid x = floats(rows, 2 * panels * kPanelColumns),
            out = floats(rows, panels * kPanelColumns);
  fill(x, "normal");
  x.at(1, 5) = -200;
  kernels.gate(activation, x.data(), x.stride, out.data(), out.stride, panels, {0, 2});
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < panels * kPanelColumns; ++c) {
      const int from = c / kPanelColumns * 2 * kPanelColumns + c % kPanelColumns;
      const double factor = x.at(r, from + kPanelColumns);
      const double expected = r < 2 ? activated(activation, x.at(r, from)) * factor : 0;
      check_near(out.at(r, c), expected, 1e-6 * (std::abs(expected) + std::abs(factor)), "gate");
    }
  }
}

}  // namespace

void test_gate(const Kernels& kernels) {
  for (const Activation activation : kActivations) {
    if (activation == Activation::none) continue;
    for (const int panels : {1, 4}) {
      run(kernels, "gate " + std::to_string(static_cast<int>(activation)),
          [&] { test_case(kernels, activation, panels); });
    }
  }
}

}  // namespace m3e
