// SPDX-License-Identifier: Apache-2.0
// Sums of integers are exact, and those of floats have one order, so all x86 processors with AVX2
// give the same bytes, whatever their products add at a time.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernel_tests.h"

#if defined(M3E_EMULATED_AMX)
#include "emulated_tiles.h"
#endif

namespace m3e {
namespace {

bool is_promised(const std::string& name) {
  const std::vector<std::string> promised{"avx2",       "avx512", "avxvnni",     "avx512vnni",
                                          "avx512bf16", "amx",    "amx_emulated"};
  return std::find(promised.begin(), promised.end(), name) != promised.end();
}

int between(int least, int most) {
  return std::uniform_int_distribution<int>(least, most)(generator);
}

template <class Value>
Value one_of(const std::vector<Value>& all) {
  return all[static_cast<size_t>(between(0, static_cast<int>(all.size()) - 1))];
}

struct Attended {
  int length, head_size;
  Range queries;
  std::string kind;  // of the numbers
  float bias = 0;    // how large biases of scores are; 0 for none
  Span span{};
};

std::string name_of(const Attended& each) {
  return "attention of " + std::to_string(each.queries.begin) + " to " +
         std::to_string(each.queries.end) + " to " + std::to_string(each.length) + " keys of " +
         std::to_string(each.head_size) + " " + each.kind + (each.bias > 0 ? ", biased" : "") +
         (each.span.is_full() ? "" : ", window");
}

// What a row of queries, keys or values holds. Where all are equal, codes and their sums are as
// large as can be; "steps" has every code in turn.
float number(const std::string& kind, int row, int column) {
  if (kind == "alternating") return column % 2 ? -2.5f : 2.5f;
  if (kind == "steps") return static_cast<float>((row * 37 + column * 101) % 2047 - 1023);
  if (kind == "growing") return normal() * static_cast<float>(1 + row);
  return value_of(kind, column);
}

FloatGrid attend(const Kernels& kernels, const Attended& each, FloatGrid& qkv,
                 const std::vector<float>& biases) {
  const int hidden = 2 * each.head_size;  // a head before the one that is computed
  const int rows = std::max(each.length, each.queries.end);
  FloatGrid out = floats(rows, hidden);
  std::fill(out.data(), out.row(rows - 1) + out.stride, 0.5f);
  Buffer<float> scratch;
  scratch.reserve(static_cast<size_t>(attention_scratch(each.length, each.head_size)));
  AttentionJob job{qkv.data(),  qkv.stride,   hidden,     each.head_size, each.head_size,
                   each.length, each.queries, out.data(), out.stride,     scratch.data()};
  if (each.bias > 0) job.bias = biases.data() + each.length - 1;
  job.span = each.span;
  kernels.attention_rounded(job);
  return out;
}

// The whole rows are compared, beyond the results too: nothing else is written.
void compare_attention(const Kernels& kernels, const Kernels& others, const Attended& each) {
  doing = std::string(kernels.name) + " and " + others.name + " " + name_of(each);
  const int rows = std::max(each.length, each.queries.end);
  FloatGrid qkv = floats(rows, 6 * each.head_size);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < qkv.columns; ++c) qkv.at(r, c) = number(each.kind, r, c);
  }
  std::vector<float> biases(static_cast<size_t>(2 * rows - 1));
  for (float& value : biases) value = each.bias * normal();
  FloatGrid found = attend(kernels, each, qkv, biases),
            expected = attend(others, each, qkv, biases);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < found.stride; ++c) {
      check(std::memcmp(&found.at(r, c), &expected.at(r, c), sizeof(float)) == 0, "attended value",
            found.at(r, c), expected.at(r, c));
    }
  }
}

Range some_of(int length) {
  const int begin = between(0, length - 1);
  return {begin, between(begin + 1, length)};
}

void compare_random_attention(const Kernels& kernels, const Kernels& others) {
  const std::vector<std::string> kinds{"normal",  "zeros",    "equal",       "huge",  "tiny",
                                       "outlier", "negative", "alternating", "steps", "growing"};
  const std::vector<Span> spans{Span{},      Span{},        Span{},
                                Span{0, 0},  Span{3, 40},   Span{64, 64},
                                Span{70, 2}, Span{1000, 1}, Span{kUnlimited, 0}};
  for (const int head_size : {1, 15, 16, 24, 32, 33, 64, 65, 80, 128, 130}) {
    for (int i = 0; i < 12; ++i) {
      const int length = i % 3 ? between(1, 80) : between(33, 300);
      const Range queries = i % 2 ? some_of(length) : Range{0, length};
      const float bias = i % 4 == 3 ? 10.0f : 0.0f;
      compare_attention(kernels, others,
                        {length, head_size, queries, one_of(kinds), bias, one_of(spans)});
    }
  }
  // Every length of a block and around it.
  for (int length = 1; length <= 130; length += length < 70 ? 1 : 7) {
    compare_attention(kernels, others, {length, 24, {0, length}, "normal"});
  }
  compare_attention(kernels, others, {600, 64, {0, 600}, "normal"});  // more than pass together
  compare_attention(kernels, others, {550, 16, {3, 540}, "growing", 2.0f, Span{128, 128}});
  compare_attention(kernels, others, {40, 32, {40, 75}, "normal"});  // rows behind the keys
}

void compare_products(const Kernels& kernels, const Kernels& others, int rows, int inputs,
                      int panels, bool gated) {
  doing = std::string(kernels.name) + " and " + others.name + " gemm_int8 " +
          shape_name(rows, inputs, panels * kPanelColumns);
  const int outputs = panels * kPanelColumns;
  Codes x(rows, inputs);
  for (int r = 0; r < rows; ++r) {
    x.scale[static_cast<size_t>(r)] = uniform(0.001f, 0.05f);
    x.minimum[static_cast<size_t>(r)] = uniform(-2.0f, 0.5f);
    for (int k = 0; k < inputs; ++k) x.grid.at(r, k) = static_cast<uint8_t>(between(0, 255));
  }
  Buffer<int8_t> codes;
  Buffer<float> scales, sums, bias;
  const auto count = static_cast<size_t>(round_up(inputs, kInputsAlign) * outputs);
  codes.reserve(count);
  // Four products of 31 and 255 fit in the 16 bits of a processor without VNNI.
  for (size_t i = 0; i < count; ++i) codes.data()[i] = static_cast<int8_t>(between(-31, 31));
  for (Buffer<float>* each : {&scales, &sums, &bias}) {
    each->reserve(static_cast<size_t>(outputs));
    for (int n = 0; n < outputs; ++n) each->data()[n] = normal();
  }
  const Int8Matrix w{codes.data(), scales.data(), sums.data(), bias.data(),
                     nullptr,      inputs,        outputs};
  FloatGrid found = floats(rows, outputs), expected = floats(rows, outputs);
  const auto multiply = [&](const Kernels& table, FloatGrid& out) {
    table.gemm_int8(x.rows, w, {out.data(), out.stride, nullptr, Activation::gelu, gated},
                    {0, rows}, {0, panels});
  };
  multiply(kernels, found);
  multiply(others, expected);
  check(std::memcmp(found.data(), expected.data(), found.buffer.bytes()) == 0, "8-bit product", 0,
        0);
}

#if defined(M3E_EMULATED_AMX)
// The comparisons say nothing of tiles where none is used.
void check_that_tiles_are_used(const Kernels& kernels, const Kernels& others) {
  const bool emulated = std::string(kernels.name) == "amx_emulated";
  const auto used = [&](int length, int queries) {
    const int64_t before = emulated::multiplications();
    compare_attention(kernels, others, {length, 64, {0, queries}, "normal"});
    return emulated::multiplications() > before;
  };
  doing = std::string(kernels.name) + " tiles";
  check(used(64, 64) == emulated, "tiles of many keys", 0, 0);
  check(used(48, 8) == emulated, "tiles of some keys", 0, 0);
  check(!used(16, 16), "tiles of few keys", 0, 0);
  check(!used(64, 1), "tiles of one query", 0, 0);
}
#else
void check_that_tiles_are_used(const Kernels&, const Kernels&) {}
#endif

}  // namespace

void test_same_bytes(const Kernels& kernels) {
  const Kernels* others = find_kernels("avx512vnni");
  if (!others) others = find_kernels("avx2");
  if (!others || others == &kernels || !is_promised(kernels.name)) return;
  for (const int rows : {1, 12, 16, 33, 50}) {
    for (const int inputs : {64, 100, 384}) {
      for (const int panels : {2, 3, 6}) {
        compare_products(kernels, *others, rows, inputs, panels, panels % 2 == 0);
      }
    }
  }
  compare_random_attention(kernels, *others);
  check_that_tiles_are_used(kernels, *others);
}

}  // namespace m3e
