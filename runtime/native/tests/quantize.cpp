// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

void test_shape(const Kernels& kernels, int rows, int columns, const std::string& kind,
                bool smooth) {
  FloatGrid x = floats(rows, columns);
  fill(x, kind);
  std::vector<float> smoothing(static_cast<size_t>(columns));
  for (float& factor : smoothing) factor = uniform(0.1f, 4.0f);
  Codes codes(rows, columns);
  kernels.quantize(x.data(), x.stride, columns, smooth ? smoothing.data() : nullptr, codes.rows,
                   {0, rows});
  for (int r = 0; r < rows; ++r) {
    float low = 0, high = 0;
    for (int c = 0; c < columns; ++c) {
      const float value = smooth ? x.at(r, c) * smoothing[static_cast<size_t>(c)] : x.at(r, c);
      low = c == 0 || value < low ? value : low;
      high = c == 0 || value > high ? value : high;
    }
    const float scale = codes.scale[static_cast<size_t>(r)],
                minimum = codes.minimum[static_cast<size_t>(r)];
    // A partial last vector may count its padding as zeros.
    const bool padded = columns % 16 != 0;
    check(padded ? minimum <= low : minimum == low, "minimum", minimum, low);
    for (int c = 0; c < columns; ++c) {
      const double value = smooth ? x.at(r, c) * smoothing[static_cast<size_t>(c)] : x.at(r, c);
      const double restored = minimum + static_cast<double>(scale) * codes.grid.at(r, c);
      check_near(restored, value, 0.501 * scale + 1e-6 * std::abs(value), "restored value");
    }
  }
}

// A number that is none, at every position of one row of three.
void test_invalid(const Kernels& kernels, int columns, float invalid) {
  FloatGrid x = floats(3, columns);
  fill(x, "normal");
  Codes valid(3, columns), codes(3, columns);
  kernels.quantize(x.data(), x.stride, columns, nullptr, valid.rows, {0, 3});
  for (int c = 0; c < columns; ++c) {
    const float before = std::exchange(x.at(1, c), invalid);
    kernels.quantize(x.data(), x.stride, columns, nullptr, codes.rows, {0, 3});
    x.at(1, c) = before;
    check(std::isnan(codes.scale[1]), "scale of an invalid row", codes.scale[1], NAN);
    check(std::isnan(codes.minimum[1]), "minimum of an invalid row", codes.minimum[1], NAN);
    for (const size_t r : {size_t{0}, size_t{2}}) {
      check(codes.scale[r] == valid.scale[r], "scale beside it", codes.scale[r], valid.scale[r]);
      check(codes.minimum[r] == valid.minimum[r], "minimum beside it", codes.minimum[r],
            valid.minimum[r]);
    }
  }
}

}  // namespace

void test_quantize(const Kernels& kernels) {
  for (const char* kind : kKinds) {
    for (const int columns : {1, 7, 16, 31, 64, 384, 515}) {
      for (const bool smooth : {false, true}) {
        run(kernels, std::string("quantize ") + kind + " " + std::to_string(columns),
            [&] { test_shape(kernels, 3, columns, kind, smooth); });
      }
    }
  }
  for (const int columns : {1, 7, 16, 31, 64, 77}) {
    for (const float invalid : {NAN, -NAN, INFINITY, -INFINITY}) {
      run(kernels, "quantize " + std::to_string(invalid) + " of " + std::to_string(columns),
          [&] { test_invalid(kernels, columns, invalid); });
    }
  }
}

}  // namespace m3e
