// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

// Two heads, `between` apart; what lies between and behind them stays as it is.
void test_case(const Kernels& kernels, int size, int between) {
  const int rows = 4, columns = 2 * between;
  FloatGrid x = floats(rows, columns), before = floats(rows, columns);
  fill(x, "normal");
  std::memcpy(before.data(), x.data(), x.buffer.bytes());
  std::vector<float> table(static_cast<size_t>(rows) * static_cast<size_t>(size));
  for (float& value : table) value = normal();
  kernels.rotate({table.data(), size, 2, between}, x.data(), x.stride, {1, 3});
  const int half = size / 2;
  for (int r = 0; r < rows; ++r) {
    const float* angles = table.data() + r * size;
    for (int c = 0; c < columns; ++c) {
      const int column = c % between, k = column % half;
      double expected = before.at(r, c);
      if (r >= 1 && r < 3 && column < size) {
        const int other = column < half ? c + half : c - half;
        const double sine = column < half ? -angles[half + k] : angles[half + k];
        expected = expected * static_cast<double>(angles[k]) + before.at(r, other) * sine;
      }
      check_near(x.at(r, c), expected, 2e-6, "rotated value");
    }
  }
}

}  // namespace

void test_rotation(const Kernels& kernels) {
  for (const int size : {2, 16, 26, 32, 64}) {
    for (const int between : {size, size + 6}) {
      run(kernels, "rotation " + std::to_string(size), [&] { test_case(kernels, size, between); });
    }
  }
}

}  // namespace m3e
