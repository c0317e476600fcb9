// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

// What weights of each sign can still add to a 16-bit sum before it overflows with codes of 255.
struct SumRoom {
  int positive = 128, negative = 128;
  int take(int code) {
    const int taken = std::max(-negative, std::min(code, positive));
    (taken > 0 ? positive : negative) -= std::abs(taken);
    return taken;
  }
};

struct Weights8 {
  int inputs, outputs;
  std::vector<int8_t> codes;  // [inputs][outputs]
  Buffer<int8_t> panels;
  Buffer<float> scales, sums, bias;
  Int8Matrix matrix;

  Weights8(int inputs, int outputs, bool extreme) : inputs(inputs), outputs(outputs) {
    const int padded = round_up(outputs, 16), steps = round_up(inputs, kInputsAlign) / 4;
    codes.resize(static_cast<size_t>(inputs) * static_cast<size_t>(outputs));
    panels.reserve(static_cast<size_t>(padded) * static_cast<size_t>(steps) * 4);
    scales.reserve(static_cast<size_t>(padded));
    sums.reserve(static_cast<size_t>(padded));
    bias.reserve(static_cast<size_t>(padded));
    for (int n = 0; n < outputs; ++n) {
      scales.data()[n] = uniform(0.001f, 0.1f);
      bias.data()[n] = normal();
      int sum = 0;
      std::vector<SumRoom> room(static_cast<size_t>(inputs / 8 + 1) * 2);
      for (int k = 0; k < inputs; ++k) {
        // Inputs k, k + 1, k + 4 and k + 5 of eight share a 16-bit sum. Each gets a quarter of the
        // room, and the last one all that is left.
        SumRoom& left = room[static_cast<size_t>(k / 8 * 2 + k % 4 / 2)];
        const bool last = k % 8 == 5 || k % 8 == 7;
        const float drawn = uniform(-1, 1) * static_cast<float>(last ? 127 : 64);
        const int code = left.take(extreme ? (last ? 127 : 32) : static_cast<int>(drawn));
        sum += code;
        codes[static_cast<size_t>(k * outputs + n)] = static_cast<int8_t>(code);
        panels.data()[((static_cast<int64_t>(n / 16) * steps + k / 4) * 16 + n % 16) * 4 + k % 4] =
            static_cast<int8_t>(code);
      }
      sums.data()[n] = scales.data()[n] * static_cast<float>(sum);
    }
    matrix = {panels.data(), scales.data(), sums.data(), bias.data(), nullptr, inputs, outputs};
  }
};

void test_shape(const Kernels& kernels, int rows, int inputs, int outputs, bool extreme,
                Activation activation, bool residual) {
  Weights8 w(inputs, outputs, extreme);
  Codes x(rows, inputs);
  for (int r = 0; r < rows; ++r) {
    x.scale[static_cast<size_t>(r)] = uniform(0.001f, 0.05f);
    x.minimum[static_cast<size_t>(r)] = uniform(-2.0f, 0.5f);
    for (int k = 0; k < inputs; ++k) {
      x.grid.at(r, k) = extreme ? 255 : static_cast<uint8_t>(uniform(0, 255.99f));
    }
    // Bytes after the inputs must not change the result.
    for (int k = inputs; k < round_up(inputs, kInputsAlign); ++k) x.grid.at(r, k) = 77;
  }
  FloatGrid out = floats(rows, outputs), before = floats(rows, outputs);
  fill(before, "normal");
  const Epilogue to{out.data(), out.stride, residual ? before.data() : nullptr, activation};
  const int panels = round_up(outputs, 16) / 16;
  kernels.gemm_int8(x.rows, w.matrix, to, {0, rows}, {0, panels});
  for (int r = 0; r < rows; ++r) {
    const double scale = x.scale[static_cast<size_t>(r)],
                 minimum = x.minimum[static_cast<size_t>(r)];
    for (int n = 0; n < outputs; ++n) {
      int64_t total = 0;
      for (int k = 0; k < inputs; ++k) {
        total +=
            static_cast<int64_t>(x.grid.at(r, k)) * w.codes[static_cast<size_t>(k * outputs + n)];
      }
      const double product = scale * w.scales.data()[n] * static_cast<double>(total);
      double expected = product + minimum * w.sums.data()[n] + w.bias.data()[n];
      // The tolerance is below one unit of the integer sum and above the rounding of floats.
      // Where only signed codes multiply, the codes are lowered by 128 and the minimum is raised to
      // match, which gives a larger sum to round.
      const double lowest = std::abs(minimum) + 128 * scale;
      double tolerance = 3e-6 * (std::abs(product) + lowest * std::abs(w.sums.data()[n]) + 1);
      if (residual) expected += before.at(r, n);
      expected = activated(activation, expected);
      if (activation == Activation::gelu) tolerance += 1e-4;
      check_near(out.at(r, n), expected, tolerance, "element of the 8-bit product");
    }
  }
  // Some rows and panels alone, with the residual in their place: the same bytes, and nothing
  // outside is touched.
  FloatGrid part = floats(rows, outputs);
  std::memcpy(part.data(), before.data(), part.buffer.bytes());
  const Range some_rows{rows / 3, rows - rows / 4}, some_panels{panels / 2, panels};
  kernels.gemm_int8(x.rows, w.matrix,
                    {part.data(), part.stride, residual ? part.data() : nullptr, activation},
                    some_rows, some_panels);
  for (int r = 0; r < rows; ++r) {
    const bool row_in = r >= some_rows.begin && r < some_rows.end;
    for (int n = 0; n < outputs; ++n) {
      const bool in = row_in && n >= 16 * some_panels.begin;
      const float expected = in ? out.at(r, n) : before.at(r, n);
      check(part.at(r, n) == expected, "part of the 8-bit product", part.at(r, n), expected);
    }
  }
}

// Panels and panels of their factors in turns; the same bytes for a part, and nothing outside.
void test_gated(const Kernels& kernels, int rows, Activation activation) {
  const int inputs = 100, panels = 6, outputs = panels * kPanelColumns;
  Weights8 w(inputs, outputs, false);
  Codes x(rows, inputs);
  for (int r = 0; r < rows; ++r) {
    x.scale[static_cast<size_t>(r)] = 0.02f;
    x.minimum[static_cast<size_t>(r)] = -2;
    for (int k = 0; k < inputs; ++k) x.grid.at(r, k) = static_cast<uint8_t>(uniform(0, 255.99f));
  }
  FloatGrid product = floats(rows, outputs), out = floats(rows, outputs),
            part = floats(rows, outputs);
  kernels.gemm_int8(x.rows, w.matrix, {product.data(), product.stride, nullptr, Activation::none},
                    {0, rows}, {0, panels});
  kernels.gemm_int8(x.rows, w.matrix, {out.data(), out.stride, nullptr, activation, true},
                    {0, rows}, {0, panels});
  const Range some{rows / 2, rows};
  kernels.gemm_int8(x.rows, w.matrix, {part.data(), part.stride, nullptr, activation, true}, some,
                    {2, panels});
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < outputs; ++c) {
      const int from = c / kPanelColumns * 2 * kPanelColumns + c % kPanelColumns;
      const bool written = c < outputs / 2;
      const double factor = written ? product.at(r, from + kPanelColumns) : 0;
      const double expected = written ? activated(activation, product.at(r, from)) * factor : 0;
      check_near(out.at(r, c), expected, 2e-4 * std::abs(factor) + 2e-5 * std::abs(expected),
                 "gated product");
      const bool in = written && r >= some.begin && c >= kPanelColumns;
      check(part.at(r, c) == (in ? out.at(r, c) : 0), "part of the gated product", part.at(r, c),
            in ? out.at(r, c) : 0);
    }
  }
}

// What quantize makes of a row with a NaN: a row of NaN, whatever follows, and no other row.
void test_invalid(const Kernels& kernels, Activation activation) {
  const int rows = 3, inputs = 70, outputs = 40;
  Weights8 w(inputs, outputs, false);
  Codes x(rows, inputs);
  for (const size_t r : {size_t{0}, size_t{2}}) x.scale[r] = 1;
  x.scale[1] = x.minimum[1] = NAN;
  FloatGrid out = floats(rows, outputs);
  kernels.gemm_int8(x.rows, w.matrix, {out.data(), out.stride, nullptr, activation}, {0, rows},
                    {0, round_up(outputs, 16) / 16});
  for (int r = 0; r < rows; ++r) {
    for (int n = 0; n < outputs; ++n) {
      check(std::isnan(out.at(r, n)) == (r == 1), "whether it is a number", out.at(r, n), NAN);
    }
  }
}

}  // namespace

void test_gemm_int8(const Kernels& kernels) {
  for (const Activation activation : kActivations) {
    for (const int rows : {1, 5, 12, 31, 33}) {
      run(kernels, "gated gemm_int8 " + std::to_string(rows),
          [&] { test_gated(kernels, rows, activation); });
    }
  }
  for_shapes([&](int rows, int inputs, int outputs, Activation activation, bool odd) {
    run(kernels, "gemm_int8 " + shape_name(rows, inputs, outputs), [&] {
      test_shape(kernels, rows, inputs, outputs, false, activation, odd);
      test_shape(kernels, rows, inputs, outputs, true, Activation::none, !odd);
    });
  });
  for (const Activation activation : kActivations) {
    run(kernels, "gemm_int8, a row of NaN", [&] { test_invalid(kernels, activation); });
  }
  run(kernels, "gemm_int8, long sums",
      [&] { test_shape(kernels, 20, 4096, 32, true, Activation::none, false); });
}

}  // namespace m3e
