// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

void test_shape(const Kernels& kernels, int rows, int inputs, int outputs, bool half,
                Activation activation, bool residual) {
  const int panels = round_up(outputs, 16) / 16;
  std::vector<float> weights(static_cast<size_t>(inputs) * static_cast<size_t>(outputs));
  Buffer<float> packed, bias;
  Buffer<uint16_t> packed_half;
  const size_t size = static_cast<size_t>(panels) * 16 * static_cast<size_t>(inputs);
  packed.reserve(size);
  packed_half.reserve(size);
  bias.reserve(static_cast<size_t>(panels) * 16);
  for (int n = 0; n < outputs; ++n) {
    bias.data()[n] = normal();
    for (int k = 0; k < inputs; ++k) {
      const float weight = std::round(uniform(-512, 512)) / 512;  // exact in float16
      weights[static_cast<size_t>(k * outputs + n)] = weight;
      const int64_t at = (static_cast<int64_t>(n / 16) * inputs + k) * 16 + n % 16;
      packed.data()[at] = weight;
      packed_half.data()[at] = to_half(weight);
    }
  }
  const FloatMatrix w{half ? nullptr : packed.data(), half ? packed_half.data() : nullptr,
                      bias.data(), inputs, outputs};
  FloatGrid x = floats(rows, inputs), out = floats(rows, outputs), before = floats(rows, outputs);
  fill(x, "normal");
  fill(before, "normal");
  const Epilogue to{out.data(), out.stride, residual ? before.data() : nullptr, activation};
  Buffer<float> scratch;
  scratch.reserve(kFloatScratch);
  kernels.gemm_float(x.data(), x.stride, w, to, {0, rows}, {0, panels}, scratch.data());
  for (int r = 0; r < rows; ++r) {
    for (int n = 0; n < outputs; ++n) {
      double expected = bias.data()[n], size_of_terms = 1 + std::abs(expected);
      for (int k = 0; k < inputs; ++k) {
        const double term =
            static_cast<double>(x.at(r, k)) * weights[static_cast<size_t>(k * outputs + n)];
        expected += term;
        size_of_terms += std::abs(term);
      }
      if (residual) {
        expected += before.at(r, n);
        size_of_terms += std::abs(before.at(r, n));
      }
      expected = activated(activation, expected);
      check_near(out.at(r, n), expected, 4e-7 * size_of_terms, "element of the float product");
    }
  }
  FloatGrid one = floats(rows, outputs);
  std::memcpy(one.data(), before.data(), one.buffer.bytes());
  for (int r = 0; r < rows; ++r) {  // row by row, with the residual in their place: the same bytes
    kernels.gemm_float(x.data(), x.stride, w,
                       {one.data(), one.stride, residual ? one.data() : nullptr, activation},
                       {r, r + 1}, {0, panels}, scratch.data());
    for (int n = 0; n < outputs; ++n) {
      check(one.at(r, n) == out.at(r, n), "row alone", one.at(r, n), out.at(r, n));
    }
  }
}

float rounded_to_bfloat16(float x) {
  if (std::abs(x) < 0x1p-94f) return 0;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// A sum of two floats, rounded to odd: of the two floats beside it, the one whose last bit is 1.
float add_to_odd(float a, float b) {
  const double sum = static_cast<double>(a) + b, of_b = sum - a;
  const double lost = (a - (sum - of_b)) + (b - of_b);  // sum + lost is exact (Knuth's 2Sum)
  const float nearest = static_cast<float>(sum);
  const double rest = sum - nearest, way = rest != 0 ? rest : lost;
  if (!std::isfinite(nearest) || way == 0) return nearest;
  uint32_t bits;
  std::memcpy(&bits, &nearest, sizeof bits);
  return bits & 1u ? nearest : std::nextafter(nearest, way > 0 ? INFINITY : -INFINITY);
}

// x₀w₀ + x₁w₁ + sum, each product exact.
float add_pair(const Kernels& kernels, float sum, const float* x, const float* w) {
  if (kernels.rounds_to_odd) return add_to_odd(sum, add_to_odd(x[0] * w[0], x[1] * w[1]));
  return std::fma(x[0], w[0], std::fma(x[1], w[1], sum));
}

// A product in bfloat16, and what its parts are.
struct Bfloat16Test {
  static constexpr int kBlock = 384;  // inputs that are summed from zero
  static constexpr int kOutputs = 80;
  const Kernels& kernels;
  int rows, inputs, padded = round_up(kOutputs, 16);
  Buffer<uint16_t> packed;
  Buffer<float> weights, bias, scratch;
  FloatGrid x, before;

  Bfloat16Test(const Kernels& kernels, int rows, int inputs)
      : kernels(kernels),
        rows(rows),
        inputs(inputs),
        x(floats(rows, inputs)),
        before(floats(rows, kOutputs)) {
    const size_t size = static_cast<size_t>(padded) * static_cast<size_t>(inputs);
    packed.reserve(size);
    weights.reserve(size);
    bias.reserve(static_cast<size_t>(padded));
    scratch.reserve(kFloatScratch);
  }

  int64_t place(int input, int output) const {
    return (static_cast<int64_t>(output / 16) * inputs + input) * 16 + output % 16;
  }
  float weight(int input, int output) { return weights.data()[place(input, output)]; }

  // `half` has the value `weight`, and bfloat16 holds it.
  void put(int input, int output, float weight, uint16_t half) {
    weights.data()[place(input, output)] = weight;
    packed.data()[place(input, output)] = half;
  }
  void fill_normal(const std::string& kind) {
    for (int n = 0; n < padded; ++n) {
      bias.data()[n] = normal();
      for (int k = 0; k < inputs; ++k) {
        const float weight = std::round(uniform(-128, 128)) / 512;
        put(k, n, weight, to_half(weight));
      }
    }
    fill(x, kind);
    fill(before, "normal");
  }
  // Rows around the least number that is not taken for zero, and the least weights of float16.
  void fill_least() {
    for (int n = 0; n < padded; ++n) {
      for (int k = 0; k < inputs; ++k) {
        const int weight = static_cast<int>(uniform(-128, 128));
        put(k, n, static_cast<float>(weight) * 0x1p-24f,
            static_cast<uint16_t>(weight < 0 ? 0x8000 - weight : weight));
      }
    }
    for (int r = 0; r < rows; ++r) {
      const float sizes[] = {0x1p-92f, 0x1p-94f, 0x1p-95f, 0x1p-127f, 1};
      for (int k = 0; k < inputs; ++k) x.at(r, k) = uniform(-1, 1) * sizes[(r + k) % (5 - r % 2)];
    }
  }

  void multiply(FloatGrid& to, Range range, Range panels) {
    kernels.gemm_bfloat16(
        x.data(), x.stride, {nullptr, packed.data(), bias.data(), inputs, kOutputs},
        {to.data(), to.stride, before.data(), Activation::none}, range, panels, scratch.data());
  }

  // The same sums in the same order, to the last bit.
  float expected(int row, int output) {
    float total = before.at(row, output);
    for (int begin = 0; begin < inputs; begin += kBlock) {
      float sum = 0;
      const int end = std::min(begin + kBlock, inputs);
      for (int k = begin; k < end; k += 2) {
        const bool paired = k + 1 < end;
        const float some[] = {rounded_to_bfloat16(x.at(row, k)),
                              paired ? rounded_to_bfloat16(x.at(row, k + 1)) : 0};
        const float column[] = {weight(k, output), paired ? weight(k + 1, output) : 0};
        sum = add_pair(kernels, sum, some, column);
      }
      total += sum;
    }
    return total + bias.data()[output];
  }

  // A pair costs two roundings, of which each moves a sum by less than 2⁻²³ of its size, whether to
  // nearest or to odd; a block costs one, and so does the bias. No sum is larger than the sum of
  // the sizes of all terms, but for what the roundings before it have added, which the last factor
  // bounds.
  void check_bound(float found, int row, int output) {
    double sum = static_cast<double>(before.at(row, output)) + bias.data()[output];
    double sizes = std::abs(before.at(row, output)) + std::abs(bias.data()[output]);
    for (int k = 0; k < inputs; ++k) {
      const double term =
          static_cast<double>(rounded_to_bfloat16(x.at(row, k))) * weight(k, output);
      sum += term;
      sizes += std::abs(term);
    }
    const int roundings = inputs + 1 + (inputs + kBlock - 1) / kBlock + 1;
    check_near(found, sum, roundings * 0x1p-23 * sizes * 1.001, "product of bfloat16, in doubles");
  }
};

// Compares all elements, each row alone, and the panels one by one.
void check_bfloat16(Bfloat16Test& test) {
  const int rows = test.rows, panels = test.padded / 16;
  FloatGrid out = floats(rows, test.kOutputs), one = floats(rows, test.kOutputs);
  FloatGrid part = floats(rows, test.kOutputs);
  test.multiply(out, {0, rows}, {0, panels});
  for (int r = 0; r < rows; ++r) test.multiply(one, {r, r + 1}, {0, panels});
  for (int p = 0; p < panels; ++p) test.multiply(part, {0, rows}, {p, p + 1});
  for (int r = 0; r < rows; ++r) {
    for (int n = 0; n < test.kOutputs; ++n) {
      const float total = test.expected(r, n);
      check(out.at(r, n) == total, "product of bfloat16", out.at(r, n), total);
      check(one.at(r, n) == total, "product of bfloat16, row alone", one.at(r, n), total);
      check(part.at(r, n) == total, "product of bfloat16, panel alone", part.at(r, n), total);
      test.check_bound(out.at(r, n), r, n);
    }
  }
}

void test_bfloat16(const Kernels& kernels, int rows, int inputs, const std::string& kind) {
  Bfloat16Test test(kernels, rows, inputs);
  test.fill_normal(kind);
  check_bfloat16(test);
}

void test_bfloat16_least(const Kernels& kernels) {
  Bfloat16Test test(kernels, 13, 402);
  test.fill_least();
  check_bfloat16(test);
}

// NaN, infinity and what is too large for bfloat16 or for a sum are seen in their rows, and in no
// other; whatever the place of the input.
void test_bfloat16_not_finite(const Kernels& kernels) {
  const uint32_t all_ones = 0x7FFFFFFF;  // the bits of a NaN that carry into the sign if rounded
  const uint32_t one_bit = 0x7F800001;   // the bits of a NaN that become infinity if cut off
  float carrying, signalling;
  std::memcpy(&carrying, &all_ones, sizeof carrying);
  std::memcpy(&signalling, &one_bit, sizeof signalling);
  const float largest = std::numeric_limits<float>::max();
  const float values[] = {carrying, signalling, INFINITY, -INFINITY, largest, 3e38f};
  const int rows = 7, inputs = 7;
  for (const float value : values) {
    for (int input = 0; input < inputs; ++input) {
      Bfloat16Test test(kernels, rows, inputs);
      for (int k = 0; k < inputs; ++k) {
        for (int n = 0; n < test.padded; ++n) test.put(k, n, 2, to_half(2));
      }
      fill(test.x, "normal");
      const int row = input % rows;
      std::memcpy(&test.x.at(row, input), &value, sizeof value);
      FloatGrid out = floats(rows, test.kOutputs);
      test.multiply(out, {0, rows}, {0, test.padded / 16});
      for (int r = 0; r < rows; ++r) {
        for (int n = 0; n < test.kOutputs; ++n) {
          const float found = out.at(r, n);
          const float expected = std::isnan(value) ? value : std::copysign(INFINITY, value);
          check(r != row            ? std::isfinite(found)
                : std::isnan(value) ? std::isnan(found)
                                    : found == expected,
                "product of what is not finite", found, r == row ? expected : 0);
        }
      }
    }
  }
}

// Infinity of both signs, or times nothing, is NaN.
void test_bfloat16_no_number(const Kernels& kernels) {
  for (const bool times_zero : {true, false}) {
    Bfloat16Test test(kernels, 2, 6);
    for (int k = 0; k < 6; ++k) {
      for (int n = 0; n < test.padded; ++n) {
        const float weight = times_zero ? 0.0f : 1.0f;
        test.put(k, n, weight, to_half(weight));
      }
    }
    fill(test.x, "equal");
    test.x.at(1, 1) = INFINITY;
    if (!times_zero) test.x.at(1, 4) = -INFINITY;
    FloatGrid out = floats(2, test.kOutputs);
    test.multiply(out, {0, 2}, {0, test.padded / 16});
    check(std::isfinite(out.at(0, 0)), "row beside infinities", out.at(0, 0), 0);
    check(std::isnan(out.at(1, 0)), "product of infinities", out.at(1, 0), 0);
  }
}

// Activations at every magnitude of x. The matrix is the number one.
void test_activation(const Kernels& kernels, Activation activation) {
  const int rows = 4096;
  Buffer<float> one, bias;
  one.reserve(kPanelColumns);
  bias.reserve(kPanelColumns);
  one.data()[0] = 1;
  FloatGrid x = floats(rows, 1), out = floats(rows, 1);
  const float sizes[] = {0, 1e-30f, 100, 1e4f, 1e18f};
  for (int r = 0; r < rows; ++r) {
    const int place = r / 2;
    const float size = place < 5 ? sizes[place] : static_cast<float>(place) * 0.01f;
    x.at(r, 0) = r % 2 ? -size : size;
  }
  kernels.gemm_float(x.data(), x.stride, {one.data(), nullptr, bias.data(), 1, 1},
                     {out.data(), out.stride, nullptr, activation}, {0, rows}, {0, 1}, nullptr);
  for (int r = 0; r < rows; ++r) {
    const double expected = activated(activation, x.at(r, 0));
    check_near(out.at(r, 0), expected, 2.5e-7 + 1e-7 * std::abs(expected), "activated value");
  }
}

}  // namespace

void test_gemm_float(const Kernels& kernels) {
  for_shapes([&](int rows, int inputs, int outputs, Activation activation, bool odd) {
    run(kernels, "gemm_float " + shape_name(rows, inputs, outputs),
        [&] { test_shape(kernels, rows, inputs, outputs, odd, activation, odd); });
  });
  for (const std::string kind : kKinds) {
    for (const int rows : {1, 5, 7, 12, 13, 64, 130}) {
      for (const int inputs : {1, 3, 64, 100, 386, 1001}) {
        run(kernels, "gemm_bfloat16 " + kind + " " + shape_name(rows, inputs, 80),
            [&] { test_bfloat16(kernels, rows, inputs, kind); });
      }
    }
  }
  run(kernels, "gemm_bfloat16, least numbers", [&] { test_bfloat16_least(kernels); });
  run(kernels, "gemm_bfloat16, not finite", [&] { test_bfloat16_not_finite(kernels); });
  run(kernels, "gemm_bfloat16, no number", [&] { test_bfloat16_no_number(kernels); });
  for (const Activation activation : kActivations) {
    run(kernels, "gemm_float, several blocks of inputs",
        [&] { test_shape(kernels, 14, 1000, 48, false, activation, true); });
    run(kernels, "gemm_float, several blocks of halves",
        [&] { test_shape(kernels, 14, 1000, 80, true, activation, true); });
    run(kernels, "activation", [&] { test_activation(kernels, activation); });
  }
}

}  // namespace m3e
