// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
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
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
  std::memcpy(&x, &bits, sizeof x);
  return std::abs(x) < 0x1p-94f ? 0 : x;
}

// Compares with the same sums in the same order, to the last bit, and each row alone with all.
void test_bfloat16(const Kernels& kernels, int rows, int inputs, int outputs,
                   const std::string& kind) {
  const int panels = round_up(outputs, 16) / 16;
  Buffer<uint16_t> packed;
  Buffer<float> weights, bias, scratch;
  const size_t size = static_cast<size_t>(panels) * 16 * static_cast<size_t>(inputs);
  packed.reserve(size);
  weights.reserve(size);
  bias.reserve(static_cast<size_t>(panels) * 16);
  scratch.reserve(kFloatScratch);
  for (int n = 0; n < panels * 16; ++n) {
    bias.data()[n] = normal();
    for (int k = 0; k < inputs; ++k) {
      const int64_t at = (static_cast<int64_t>(n / 16) * inputs + k) * 16 + n % 16;
      weights.data()[at] = std::round(uniform(-128, 128)) / 512;  // exact in both formats
      packed.data()[at] = to_half(weights.data()[at]);
    }
  }
  const FloatMatrix w{nullptr, packed.data(), bias.data(), inputs, outputs};
  FloatGrid x = floats(rows, inputs), out = floats(rows, outputs), one = floats(rows, outputs);
  FloatGrid before = floats(rows, outputs);
  fill(x, kind);
  fill(before, "normal");
  const auto multiply = [&](FloatGrid& to, Range range) {
    kernels.gemm_bfloat16(x.data(), x.stride, w,
                          {to.data(), to.stride, before.data(), Activation::none}, range,
                          {0, panels}, scratch.data());
  };
  multiply(out, {0, rows});
  for (int r = 0; r < rows; ++r) multiply(one, {r, r + 1});
  for (int r = 0; r < rows; ++r) {
    for (int n = 0; n < outputs; ++n) {
      const float* column = weights.data() + static_cast<int64_t>(n / 16) * inputs * 16 + n % 16;
      float total = before.at(r, n);
      for (int begin = 0; begin < inputs; begin += 384) {
        float sum = 0;
        const int end = std::min(begin + 384, inputs);
        for (int k = begin; k < end; k += 2) {
          for (int each = std::min(k + 1, end - 1); each >= k; --each) {
            sum = std::fma(rounded_to_bfloat16(x.at(r, each)), column[each * 16], sum);
          }
        }
        total += sum;
      }
      total += bias.data()[n];
      check(out.at(r, n) == total, "product of bfloat16", out.at(r, n), total);
      check(one.at(r, n) == total, "product of bfloat16, row alone", one.at(r, n), total);
    }
  }
}

void test_bfloat16_nan(const Kernels& kernels) {
  Buffer<uint16_t> weights;
  Buffer<float> bias, scratch;
  weights.reserve(2 * kPanelColumns);
  bias.reserve(kPanelColumns);
  scratch.reserve(kFloatScratch);
  FloatGrid x = floats(1, 2), out = floats(1, 16);
  const uint32_t all_ones = 0x7FFFFFFF;  // the bits of a NaN that carry into the sign if rounded
  std::memcpy(x.row(0), &all_ones, sizeof all_ones);
  kernels.gemm_bfloat16(x.data(), x.stride, {nullptr, weights.data(), bias.data(), 2, 16},
                        {out.data(), out.stride, nullptr, Activation::none}, {0, 1}, {0, 1},
                        scratch.data());
  check(std::isnan(out.at(0, 0)), "product of NaN", out.at(0, 0), 0);
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
    for (const int rows : {1, 5, 12, 13, 64, 130}) {
      for (const int inputs : {1, 3, 64, 100, 1001}) {
        run(kernels, "gemm_bfloat16 " + kind + " " + shape_name(rows, inputs, 80),
            [&] { test_bfloat16(kernels, rows, inputs, 80, kind); });
      }
    }
  }
  run(kernels, "gemm_bfloat16", [&] { test_bfloat16_nan(kernels); });
  for (const Activation activation : kActivations) {
    run(kernels, "gemm_float, several blocks of inputs",
        [&] { test_shape(kernels, 14, 1000, 48, false, activation, true); });
    run(kernels, "gemm_float, several blocks of halves",
        [&] { test_shape(kernels, 14, 1000, 80, true, activation, true); });
    run(kernels, "activation", [&] { test_activation(kernels, activation); });
  }
}

}  // namespace m3e
