// Every kernel of every instruction set that runs here, against plain loops in double precision, on
// random and adversarial shapes and values. No framework: a failed check prints what it was and the
// program ends with 1.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "buffer.h"
#include "error.h"
#include "kernels/kernels.h"
#include "pooling.h"

using namespace m3e;

namespace {

std::mt19937 generator(1);
std::string doing;
int checks = 0;

float uniform(float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(generator);
}
float normal() { return std::normal_distribution<float>()(generator); }

void check(bool right, const char* what, double found, double expected) {
  ++checks;
  if (right) return;
  std::printf("FAILED %s: %s: found %.9g, expected %.9g\n", doing.c_str(), what, found, expected);
  std::exit(1);
}

void check_near(double found, double expected, double tolerance, const char* what) {
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

FloatGrid floats(int rows, int columns) {
  return FloatGrid(rows, columns, round_up(columns, 16) + 16);
}

// How rows of activations may look.
const char* const kKinds[] = {"normal", "zeros", "equal", "huge", "tiny", "outlier", "negative"};

float value_of(const std::string& kind, int column) {
  if (kind == "zeros") return 0;
  if (kind == "equal") return 3.25f;
  if (kind == "huge") return uniform(-1e18f, 1e18f);
  if (kind == "tiny") return uniform(-1e-18f, 1e-18f);
  if (kind == "outlier") return column == 1 ? 1000.0f : normal();
  if (kind == "negative") return -std::abs(normal());
  return normal();
}

void fill(FloatGrid& grid, const std::string& kind) {
  for (int r = 0; r < grid.rows; ++r) {
    for (int c = 0; c < grid.columns; ++c) grid.at(r, c) = value_of(kind, c);
  }
}

double activated(Activation activation, double x) {
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

const Activation kActivations[] = {Activation::none,       Activation::gelu, Activation::gelu_tanh,
                                   Activation::quick_gelu, Activation::relu, Activation::silu};

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

void test_quantize(const Kernels& kernels, int rows, int columns, const std::string& kind,
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

// What weights of each sign may still add to a 16-bit sum with codes of 255.
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
        // Inputs k, k + 1, k + 4, k + 5 of eight share a 16-bit sum; a quarter each, and at last
        // all that is left.
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

void test_gemm_int8(const Kernels& kernels, int rows, int inputs, int outputs, bool extreme,
                    Activation activation, bool residual) {
  Weights8 w(inputs, outputs, extreme);
  Codes x(rows, inputs);
  for (int r = 0; r < rows; ++r) {
    x.scale[static_cast<size_t>(r)] = uniform(0.001f, 0.05f);
    x.minimum[static_cast<size_t>(r)] = uniform(-2.0f, 0.5f);
    for (int k = 0; k < inputs; ++k) {
      x.grid.at(r, k) = extreme ? 255 : static_cast<uint8_t>(uniform(0, 255.99f));
    }
    // What stands behind the inputs must not matter.
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
      // One unit in the integer sum must show, rounding in float must not. Where only signed codes
      // multiply, the codes are lowered by 128 and the minimum is raised to match: a larger sum to
      // round.
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

uint16_t to_half(float x) {  // of values that float16 holds exactly
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7FFFFFFFu) == 0) return static_cast<uint16_t>(bits >> 16);
  return static_cast<uint16_t>(((bits >> 16) & 0x8000u) | ((((bits >> 23) & 255u) - 112u) << 10) |
                               ((bits >> 13) & 1023u));
}

void test_gemm_float(const Kernels& kernels, int rows, int inputs, int outputs, bool half,
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
  kernels.gemm_float(x.data(), x.stride, w, to, {0, rows}, {0, panels});
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
                       {r, r + 1}, {0, panels});
    for (int n = 0; n < outputs; ++n) {
      check(one.at(r, n) == out.at(r, n), "row alone", one.at(r, n), out.at(r, n));
    }
  }
}

// Every size of x that an activation may meet, through a matrix that is the number one.
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
                     {out.data(), out.stride, nullptr, activation}, {0, rows}, {0, 1});
  for (int r = 0; r < rows; ++r) {
    const double expected = activated(activation, x.at(r, 0));
    check_near(out.at(r, 0), expected, 2.5e-7 + 1e-7 * std::abs(expected), "activated value");
  }
}

void test_layer_norm(const Kernels& kernels, int rows, int hidden, const std::string& kind) {
  FloatGrid x = floats(rows, hidden);
  fill(x, kind);
  FloatGrid before = floats(rows, hidden);
  std::memcpy(before.data(), x.data(), x.buffer.bytes());
  std::vector<float> gamma(static_cast<size_t>(hidden)), beta(static_cast<size_t>(hidden));
  for (float& value : gamma) value = normal();
  for (float& value : beta) value = normal();
  const float epsilon = 1e-12f;
  kernels.layer_norm({gamma.data(), beta.data(), epsilon}, hidden, x.data(), x.stride, {0, rows});
  for (int r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (int c = 0; c < hidden; ++c) mean += before.at(r, c);
    mean /= hidden;
    for (int c = 0; c < hidden; ++c) {
      variance += (before.at(r, c) - mean) * (before.at(r, c) - mean);
    }
    variance /= hidden;
    // Equal values: what is left is rounding, which epsilon does not hide; it only has to stay
    // finite.
    const bool flat = variance < 1e-6 * mean * mean;
    for (int c = 0; c < hidden; ++c) {
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

struct AttentionCase {
  int length, head_size;
  float spread;
  bool equal;      // all numbers are `spread`: codes are as large as can be, and so are their sums
  bool rounded;    // the function for encoders in int8
  float bias = 0;  // how large biases of scores are; 0 for none
};

void test_attention(const Kernels& kernels, const AttentionCase& each) {
  const auto [length, head_size, spread, equal, rounded, bias] = each;
  const int heads = 3, hidden = heads * head_size;
  const auto attention = rounded ? kernels.attention_rounded : kernels.attention;
  FloatGrid qkv = floats(length, 3 * hidden), out = floats(length, hidden),
            part = floats(length, hidden);
  for (int r = 0; r < length; ++r) {
    for (int c = 0; c < 3 * hidden; ++c) qkv.at(r, c) = spread * (equal ? 1 : normal());
  }
  Buffer<float> scratch;
  scratch.reserve(static_cast<size_t>(attention_scratch(length, head_size)));
  // No longer than they may be read: past their end is for the sanitizer to find.
  std::vector<float> biases(static_cast<size_t>(2 * length - 1));
  for (float& value : biases) value = bias * normal();
  for (int head = 0; head < heads; ++head) {
    AttentionJob job{qkv.data(), qkv.stride,  hidden,     head * head_size, head_size,
                     length,     {0, length}, out.data(), out.stride,       scratch.data()};
    if (bias > 0) job.bias = biases.data() + length - 1;
    attention(job);
    for (int row = 0; row < length; ++row) {  // row by row: the same bytes
      job.out = part.data();
      job.queries = {row, row + 1};
      attention(job);
    }
    std::vector<double> shares(static_cast<size_t>(length));
    for (int q = 0; q < length; ++q) {
      double top = -1e300, total = 0;
      for (int k = 0; k < length; ++k) {
        double score = 0;
        for (int i = 0; i < head_size; ++i) {
          score += static_cast<double>(qkv.at(q, job.head + i)) * qkv.at(k, hidden + job.head + i);
        }
        score = score / std::sqrt(head_size) +
                static_cast<double>(biases[static_cast<size_t>(k - q + length - 1)]);
        shares[static_cast<size_t>(k)] = score;
        top = std::max(top, shares[static_cast<size_t>(k)]);
      }
      for (double& share : shares) total += share = std::exp(share - top);
      for (int i = 0; i < head_size; ++i) {
        double expected = 0, largest = 0;
        for (int k = 0; k < length; ++k) {
          const double value = qkv.at(k, 2 * hidden + job.head + i);
          expected += shares[static_cast<size_t>(k)] / total * value;
          largest = std::max(largest, std::abs(value));
        }
        // The score's own rounding is magnified by the exponential.
        // 12 bits in place of 24, and errors that do not add up
        const double codes = rounded ? 300 : 1;
        const double rounding = 2e-6 + 1e-6 * spread * spread * std::sqrt(head_size) + 5e-7 * bias;
        const double tolerance = codes * largest * rounding;
        check_near(out.at(q, job.head + i), expected, tolerance, "attended value");
        check(out.at(q, job.head + i) == part.at(q, job.head + i), "row alone",
              part.at(q, job.head + i), out.at(q, job.head + i));
      }
    }
  }
}

// One key that takes most of the weight, and many that share the rest: none of them may be
// forgotten.
void test_attention_sink(const Kernels& kernels, bool rounded, float gap) {
  const int length = 512, head_size = 16;
  FloatGrid qkv = floats(length, 3 * head_size), out = floats(length, head_size);
  for (int r = 0; r < length; ++r) {
    for (int c = 0; c < head_size; ++c) {
      qkv.at(r, c) = 1;
      qkv.at(r, head_size + c) = r == 0 ? gap / std::sqrt(static_cast<float>(head_size)) : 0;
      qkv.at(r, 2 * head_size + c) = r == 0 ? 1 : -1;
    }
  }
  Buffer<float> scratch;
  scratch.reserve(static_cast<size_t>(attention_scratch(length, head_size)));
  const AttentionJob job{qkv.data(), qkv.stride,  head_size,  0,          head_size,
                         length,     {0, length}, out.data(), out.stride, scratch.data()};
  (rounded ? kernels.attention_rounded : kernels.attention)(job);
  const double others = (length - 1) * std::exp(-static_cast<double>(gap));
  const double expected = (1 - others) / (1 + others);
  for (int r = 0; r < length; ++r) {
    check_near(out.at(r, head_size - 1), expected, rounded ? 0.02 : 1e-4, "value beside a sink");
  }
}

void test_embed_and_pool(const Kernels& kernels, int hidden) {
  const int words = 7, places = 5, rows = 9;
  Buffer<float> table, positions, scales;
  Buffer<int8_t> codes;
  Buffer<uint16_t> halves;
  // Exactly as long as the tables are: reading past their end is for the sanitizer to find.
  const size_t size = static_cast<size_t>(words * hidden);
  table.reserve(size);
  codes.reserve(size);
  halves.reserve(size);
  scales.reserve(words);
  positions.reserve(static_cast<size_t>(places * hidden));
  for (int i = 0; i < words * hidden; ++i) {
    codes.data()[i] = static_cast<int8_t>(uniform(-127, 127));
    table.data()[i] = static_cast<float>(codes.data()[i]) / 128;
    halves.data()[i] = to_half(table.data()[i]);
  }
  for (int i = 0; i < words; ++i) scales.data()[i] = 1.0f / 128;
  for (int i = 0; i < places * hidden; ++i) positions.data()[i] = normal();
  std::vector<int32_t> ids(rows), at(rows);
  for (int r = 0; r < rows; ++r) {
    ids[static_cast<size_t>(r)] = r == 0 ? words - 1 : r % words;
    at[static_cast<size_t>(r)] = r == 0 ? places - 1 : r % places;
  }
  const EmbeddingTable tables[] = {
      {table.data(), nullptr, nullptr, nullptr, positions.data(), nullptr},
      {nullptr, halves.data(), nullptr, nullptr, positions.data(), nullptr},
      {nullptr, nullptr, codes.data(), scales.data(), positions.data(), nullptr},
  };
  FloatGrid out = floats(rows, hidden);
  for (const EmbeddingTable& each : tables) {
    kernels.embed(each, ids.data(), at.data(), hidden, out.data(), out.stride, {0, rows});
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < hidden; ++c) {
        const size_t row = static_cast<size_t>(r);
        const float expected =
            table.data()[ids[row] * hidden + c] + positions.data()[at[row] * hidden + c];
        check_near(out.at(r, c), expected, 1e-6, "embedded value");
      }
    }
  }
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

void test(const Kernels& kernels) {
  const auto run = [&](const std::string& what, const std::function<void()>& body) {
    doing = std::string(kernels.name) + " " + what;
    body();
  };
  for (const char* kind : kKinds) {
    for (const int columns : {1, 7, 16, 31, 64, 384, 515}) {
      for (const bool smooth : {false, true}) {
        run(std::string("quantize ") + kind + " " + std::to_string(columns),
            [&] { test_quantize(kernels, 3, columns, kind, smooth); });
      }
      if (std::string(kind) == "huge" || columns == 1) continue;  // squares of 1e18 leave float32
      run(std::string("layer_norm ") + kind + " " + std::to_string(columns),
          [&] { test_layer_norm(kernels, 3, columns, kind); });
    }
  }
  for (const int rows : {1, 2, 3, 5, 11, 12, 13, 16, 17, 31, 32, 33, 48, 65}) {
    for (const int inputs : {1, 3, 64, 100, 320}) {
      for (const int outputs : {1, 16, 40, 112}) {
        const std::string shape =
            std::to_string(rows) + "x" + std::to_string(inputs) + "x" + std::to_string(outputs);
        const bool odd = (rows + inputs) % 2;
        const Activation activation = kActivations[(rows + inputs + outputs / 16) % 4];
        run("gemm_int8 " + shape, [&] {
          test_gemm_int8(kernels, rows, inputs, outputs, false, activation, odd);
          test_gemm_int8(kernels, rows, inputs, outputs, true, Activation::none, !odd);
        });
        run("gemm_float " + shape,
            [&] { test_gemm_float(kernels, rows, inputs, outputs, odd, activation, odd); });
      }
    }
  }
  for (const Activation activation : kActivations) {
    run("gemm_float, several blocks of inputs",
        [&] { test_gemm_float(kernels, 14, 1000, 48, false, activation, true); });
    run("activation", [&] { test_activation(kernels, activation); });
  }
  run("gemm_int8, long sums",
      [&] { test_gemm_int8(kernels, 20, 4096, 32, true, Activation::none, false); });
  const auto attention = [&](const AttentionCase& each) {
    run(std::string("attention ") + (each.rounded ? "rounded " : "") + std::to_string(each.length) +
            " " + std::to_string(each.head_size) + " " + std::to_string(each.spread) +
            (each.bias > 0 ? " biased" : ""),
        [&] { test_attention(kernels, each); });
  };
  for (const bool rounded : {false, true}) {
    for (const int length : {1, 2, 15, 16, 17, 33, 70}) {
      for (const int head_size : {1, 4, 16, 26, 64}) {
        for (const float spread : {0.0f, 1.0f, 5.0f}) {
          attention({length, head_size, spread, false, rounded});
        }
        attention({length, head_size, -3.0f, true, rounded});
        for (const float bias : {1.0f, 30.0f}) {
          attention({length, head_size, 1.0f, false, rounded, bias});
        }
      }
    }
    for (const float gap : {2.0f, 8.0f, 9.0f, 9.5f, 12.0f}) {
      run("attention beside a sink", [&] { test_attention_sink(kernels, rounded, gap); });
    }
    attention({300, 16, 1.0f, false, rounded});
    attention({500, 64, 1.0f, false, rounded});
    attention({300, 26, 1.0f, false, rounded, 3.0f});
    attention({300, 16, 3.0f, true, rounded});
  }
  for (const int hidden : {3, 16, 26, 384}) {
    run("embed and pool " + std::to_string(hidden), [&] { test_embed_and_pool(kernels, hidden); });
  }
}

// Not of an instruction set: plain loops, against sums in double precision.
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

int main() {
  const char* names[16];
  const int count = supported_kernels(names, 16);
  for (int i = 0; i < count; ++i) {
    const int before = checks;
    test(*find_kernels(names[i]));
    std::printf("%s: %d checks passed\n", names[i], checks - before);
  }
  doing = "pooling";
  for (const int hidden : {1, 16, 33}) {
    for (const int length : {1, 2, 100}) {
      for (const int begin : {0, length / 2, length - 1}) test_reductions(hidden, length, begin);
    }
  }
  test_reductions_of_nothing();
  test_pooling_names();
  return find_kernels("no such") != nullptr;
}
