// SPDX-License-Identifier: Apache-2.0
#include "pooling.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "kernel_tests.h"

namespace m3e {
namespace {

void test_width(const Kernels& kernels, int hidden) {
  const int rows = 9;
  FloatGrid out = floats(rows, hidden);
  fill(out, "normal");
  for (const bool first : {false, true}) {
    for (const bool unit : {false, true}) {
      std::vector<float> pooled(static_cast<size_t>(hidden));
      kernels.pool(out.data(), out.stride, hidden, rows, first, unit, pooled.data());
      std::vector<double> expected(static_cast<size_t>(hidden));
      double squares = 0;
      for (int c = 0; c < hidden; ++c) {
        double& value = expected[static_cast<size_t>(c)];
        for (int r = 0; r < rows; ++r) value += out.at(r, c) / rows;
        if (first) value = out.at(0, c);
        squares += value * value;
      }
      for (int c = 0; c < hidden; ++c) {
        const size_t column = static_cast<size_t>(c);
        check_near(pooled[column], expected[column] / (unit ? std::sqrt(squares) : 1), 1e-5,
                   "pooled value");
      }
    }
  }
}

// Pooling is plain loops for every instruction set. Compares them with sums in double precision.
void test_reductions(int hidden, int length, int begin) {
  FloatGrid x = floats(length, hidden);
  fill(x, "normal");
  for (int c = 0; c < hidden; ++c) {
    double sum = 0, weighted = 0, weights = 0, top = -1e300;
    for (int r = begin; r < length; ++r) {
      sum += x.at(r, c);
      weighted += (r + 1.0) * x.at(r, c);
      weights += r + 1;
      top = std::max(top, static_cast<double>(x.at(r, c)));
    }
    const std::pair<Reduction, double> expected[] = {
        {Reduction::mean, sum / (length - begin)},
        {Reduction::first, x.at(begin, c)},
        {Reduction::max, top},
        {Reduction::mean_sqrt_length, sum / std::sqrt(length - begin)},
        {Reduction::weighted_mean, weighted / weights},
        {Reduction::last, x.at(length - 1, c)},
    };
    for (const auto& [reduction, value] : expected) {
      std::vector<float> out(static_cast<size_t>(hidden), 99.0f);
      reduce(reduction, x.data(), x.stride, hidden, {begin, length}, out.data());
      check_near(out[static_cast<size_t>(c)], value, 2e-6 * std::sqrt(length), "reduced value");
    }
  }
}

void test_reductions_of_nothing() {
  const float x[] = {3, 4};
  for (const Reduction reduction :
       {Reduction::mean, Reduction::first, Reduction::max, Reduction::mean_sqrt_length,
        Reduction::weighted_mean, Reduction::last}) {
    const float expected = reduction == Reduction::first ? 3.0f : 0.0f;
    float out = 99.0f;
    reduce(reduction, x, 1, 1, {2, 2}, &out);
    check(out == expected, "reduction of nothing", out, expected);
  }
}

void test_pooling_names() {
  check(Pooling::named("mean").simple() && Pooling::named("cls").simple(), "simple poolings", 0, 1);
  check(Pooling::named("max+mean").parts.size() == 2, "parts of max+mean", 0, 2);
  check(Pooling::named("first_last_mean").early == Early::embeddings, "early states", 0, 1);
  for (const char* wrong : {"", "+", "mean+", "+mean", "median", "first_last_mean+max", "mean "}) {
    bool refused = false;
    try {
      Pooling::named(wrong);
    } catch (const Error&) {
      refused = true;
    }
    check(refused, "pooling that is not one", 0, 1);
  }
}

}  // namespace

void test_pool(const Kernels& kernels) {
  for (const int hidden : {3, 16, 26, 384}) {
    run(kernels, "pool " + std::to_string(hidden), [&] { test_width(kernels, hidden); });
  }
}

void test_pooling() {
  doing = "pooling";
  for (const int hidden : {1, 16, 33}) {
    for (const int length : {1, 2, 100}) {
      for (const int begin : {0, length / 2, length - 1}) test_reductions(hidden, length, begin);
    }
  }
  test_reductions_of_nothing();
  test_pooling_names();
}

}  // namespace m3e
