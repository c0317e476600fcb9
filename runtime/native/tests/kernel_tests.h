// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of all kernels. A failed check prints itself and ends the program with 1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "buffer.h"
#include "kernels/kernels.h"

namespace m3e {

// One file each.
void test_quantize(const Kernels& kernels);
void test_layer_norm(const Kernels& kernels);
void test_rotation(const Kernels& kernels);
void test_gate(const Kernels& kernels);
void test_gemm_int8(const Kernels& kernels);
void test_gemm_float(const Kernels& kernels);
void test_attention(const Kernels& kernels);
void test_embed(const Kernels& kernels);
void test_pool(const Kernels& kernels);
void test_same_bytes(const Kernels& kernels);  // of products and attention in codes, on x86
void test_pooling();                           // plain loops: the same for every instruction set

inline std::mt19937 generator(1);
inline std::string doing;
inline int checks = 0;

inline float uniform(float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(generator);
}
inline float normal() { return std::normal_distribution<float>()(generator); }

inline void check(bool right, const char* what, double found, double expected) {
  ++checks;
  if (right) return;
  std::printf("FAILED %s: %s: found %.9g, expected %.9g\n", doing.c_str(), what, found, expected);
  std::exit(1);
}

inline void check_near(double found, double expected, double tolerance, const char* what) {
  check(std::abs(found - expected) <= tolerance, what, found, expected);
}

template <class Value>
struct Grid {  // rows with a stride, and guard values behind each row's end
  Buffer<Value> buffer;
  int rows, columns, stride;
  Grid(int rows, int columns, int stride, int slack = 0)
      : rows(rows), columns(columns), stride(stride) {
    buffer.reserve(static_cast<size_t>(rows + slack) * static_cast<size_t>(stride));
  }
  Value* data() { return buffer.data(); }
  Value& at(int row, int column) {
    return buffer.data()[static_cast<int64_t>(row) * stride + column];
  }
  Value* row(int index) { return &at(index, 0); }
};

using FloatGrid = Grid<float>;

inline FloatGrid floats(int rows, int columns) {
  return FloatGrid(rows, columns, round_up(columns, 16) + 16);
}

// How rows of activations may look.
inline const char* const kKinds[] = {"normal", "zeros",   "equal",   "huge",
                                     "tiny",   "outlier", "negative"};

inline float value_of(const std::string& kind, int column) {
  if (kind == "zeros") return 0;
  if (kind == "equal") return 3.25f;
  if (kind == "huge") return uniform(-1e18f, 1e18f);
  if (kind == "tiny") return uniform(-1e-18f, 1e-18f);
  if (kind == "outlier") return column == 1 ? 1000.0f : normal();
  if (kind == "negative") return -std::abs(normal());
  return normal();
}

inline void fill(FloatGrid& grid, const std::string& kind) {
  for (int r = 0; r < grid.rows; ++r) {
    for (int c = 0; c < grid.columns; ++c) grid.at(r, c) = value_of(kind, c);
  }
}

inline double activated(Activation activation, double x) {
  const double pi = std::acos(-1.0);
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

inline const Activation kActivations[] = {Activation::none,      Activation::gelu,
                                          Activation::gelu_tanh, Activation::quick_gelu,
                                          Activation::relu,      Activation::silu};

struct Codes {
  Grid<uint8_t> grid;
  std::vector<float> scale, minimum;
  QuantizedRows rows;
  Codes(int count, int inputs)
      : grid(count, inputs, round_up(inputs, kInputsAlign) + kInputsAlign, 32),
        scale(static_cast<size_t>(count)),
        minimum(static_cast<size_t>(count)),
        rows{grid.data(), grid.stride, scale.data(), minimum.data()} {}
};

// Runs a test; `what` is said where a check fails.
template <class Body>
void run(const Kernels& kernels, const std::string& what, Body body) {
  doing = std::string(kernels.name) + " " + what;
  body();
}

// Calls body(rows, inputs, outputs, activation, odd) for the shapes of products.
template <class Body>
void for_shapes(Body body) {
  for (const int rows : {1, 2, 3, 5, 11, 12, 13, 16, 17, 31, 32, 33, 48, 65}) {
    for (const int inputs : {1, 3, 64, 100, 320}) {
      for (const int outputs : {1, 16, 40, 112}) {
        const Activation activation = kActivations[(rows + inputs + outputs / 16) % 4];
        body(rows, inputs, outputs, activation, (rows + inputs) % 2 != 0);
      }
    }
  }
}

inline std::string shape_name(int rows, int inputs, int outputs) {
  return std::to_string(rows) + "x" + std::to_string(inputs) + "x" + std::to_string(outputs);
}

inline uint16_t to_half(float x) {  // of values that float16 holds exactly
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7FFFFFFFu) == 0) return static_cast<uint16_t>(bits >> 16);
  return static_cast<uint16_t>(((bits >> 16) & 0x8000u) | ((((bits >> 23) & 255u) - 112u) << 10) |
                               ((bits >> 13) & 1023u));
}

}  // namespace m3e
