// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

struct AttentionCase {
  int length, head_size;
  float spread;
  bool equal;      // all numbers are `spread`: codes are as large as can be, and so are their sums
  bool rounded;    // the function for encoders in int8
  float bias = 0;  // how large biases of scores are; 0 for none
  Span span{};
};

void test_case(const Kernels& kernels, const AttentionCase& each) {
  const auto [length, head_size, spread, equal, rounded, bias, span] = each;
  const int heads = 3, hidden = heads * head_size;
  const auto attention = rounded ? kernels.attention_rounded : kernels.attention;
  FloatGrid qkv = floats(length, 3 * hidden), out = floats(length, hidden),
            part = floats(length, hidden);
  for (int r = 0; r < length; ++r) {
    for (int c = 0; c < 3 * hidden; ++c) qkv.at(r, c) = spread * (equal ? 1 : normal());
  }
  Buffer<float> scratch;
  scratch.reserve(static_cast<size_t>(attention_scratch(length, head_size)));
  // Exactly as long as the kernels may read, so that the sanitizer finds a read past the end.
  std::vector<float> biases(static_cast<size_t>(2 * length - 1));
  for (float& value : biases) value = bias * normal();
  for (int head = 0; head < heads; ++head) {
    AttentionJob job{qkv.data(), qkv.stride,  hidden,     head * head_size, head_size,
                     length,     {0, length}, out.data(), out.stride,       scratch.data()};
    if (bias > 0) job.bias = biases.data() + length - 1;
    job.span = span;
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
        shares[static_cast<size_t>(k)] = -1e300;
        if (k < q - span.before || k > q + span.after) continue;
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
        // 12 bits in place of 24, and rounding errors do not accumulate.
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

// Rows that lose weight, digits or range if their shares are rounded together. Every number is
// exact in 16-bit codes, so what remains is the error of shares and of sums.
struct LongCase {
  const char* kind;
  int length;
  double gap;  // between the largest scores and the others
};

double score_of(const LongCase& each, int key) {
  const std::string kind = each.kind;
  if (kind == "uniform") return 0;
  if (kind == "sink") return key == 0 ? each.gap : 0;
  if (kind == "sink at the end") return key == each.length - 1 ? each.gap : 0;
  if (kind == "many sinks") return key % 64 == 5 ? each.gap : 0;
  if (kind == "rising") return each.gap * (key / 64) / ((each.length + 63) / 64);
  return key % 3 == 0 ? -each.gap : 0;  // "falling"
}

void test_long(const Kernels& kernels, const LongCase& each, bool rounded) {
  const int length = each.length, head_size = 16;
  FloatGrid qkv = floats(length, 3 * head_size), out = floats(length, head_size);
  double top = -1e300, total = 0, expected = 0;
  for (int r = 0; r < length; ++r) {
    const double score = score_of(each, r);
    const float value = r == 0 || std::string(each.kind) == "uniform" || r % 64 == 5 ? 1 : -1;
    for (int c = 0; c < head_size; ++c) {
      qkv.at(r, c) = c == 0 ? 4 : 0;  // √16
      qkv.at(r, head_size + c) = c == 0 ? static_cast<float>(score) : 0;
      qkv.at(r, 2 * head_size + c) = value;
    }
    top = std::max(top, score);
  }
  for (int r = 0; r < length; ++r) {
    const double share = std::exp(static_cast<double>(qkv.at(r, head_size)) - top);
    total += share;
    expected += share * qkv.at(r, 2 * head_size);
  }
  Buffer<float> scratch;
  scratch.reserve(static_cast<size_t>(attention_scratch(length, head_size)));
  const Range some{length - std::min(length, 3), length};
  const AttentionJob job{qkv.data(), qkv.stride, head_size,  0,          head_size,
                         length,     some,       out.data(), out.stride, scratch.data()};
  (rounded ? kernels.attention_rounded : kernels.attention)(job);
  for (int r = some.begin; r < some.end; ++r) {
    check_near(out.at(r, head_size - 1), expected / total, rounded ? 2.5e-3 : 4e-5, each.kind);
  }
}

// Random rows of many keys, with a column of values and a block of keys far larger than the others.
void test_long_random(const Kernels& kernels, int length, bool rounded) {
  const int head_size = 32;
  FloatGrid qkv = floats(length, 3 * head_size), out = floats(length, head_size);
  for (int r = 0; r < length; ++r) {
    for (int c = 0; c < 3 * head_size; ++c) qkv.at(r, c) = normal();
    if (r / 64 == 2) qkv.at(r, head_size) *= 20;
    qkv.at(r, 2 * head_size + 7) *= 100;
  }
  Buffer<float> scratch;
  scratch.reserve(static_cast<size_t>(attention_scratch(length, head_size)));
  const Range some{length / 2, length / 2 + 14};
  const AttentionJob job{qkv.data(), qkv.stride, head_size,  0,          head_size,
                         length,     some,       out.data(), out.stride, scratch.data()};
  (rounded ? kernels.attention_rounded : kernels.attention)(job);
  for (int r = some.begin; r < some.end; ++r) {
    std::vector<double> sums(head_size);
    double total = 0;
    for (int key = 0; key < length; ++key) {
      double score = 0;
      for (int c = 0; c < head_size; ++c) {
        score += static_cast<double>(qkv.at(r, c)) * qkv.at(key, head_size + c);
      }
      const double share = std::exp(score / std::sqrt(head_size));
      total += share;
      for (int c = 0; c < head_size; ++c) {
        sums[static_cast<size_t>(c)] += share * qkv.at(key, 2 * head_size + c);
      }
    }
    for (int c = 0; c < head_size; ++c) {
      const double tolerance = (rounded ? 8e-3 : 2e-5) * (c == 7 ? 100 : 1);
      check_near(out.at(r, c), sums[static_cast<size_t>(c)] / total, tolerance, "long random");
    }
  }
}

}  // namespace

void test_attention(const Kernels& kernels) {
  const auto attention = [&](const AttentionCase& each) {
    run(kernels,
        std::string("attention ") + (each.rounded ? "rounded " : "") + std::to_string(each.length) +
            " " + std::to_string(each.head_size) + " " + std::to_string(each.spread) +
            (each.bias > 0 ? " biased" : "") + (each.span.is_full() ? "" : " window"),
        [&] { test_case(kernels, each); });
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
    for (const char* kind :
         {"uniform", "sink", "sink at the end", "many sinks", "rising", "falling"}) {
      for (const int length : {1, 63, 65, 512, 2048, 8192}) {
        for (const double gap : {2.0, 9.0, 12.0, 80.0, 2000.0}) {
          run(kernels,
              std::string("attention beside ") + kind + " " + std::to_string(length) + " " +
                  std::to_string(gap),
              [&] { test_long(kernels, {kind, length, gap}, rounded); });
        }
      }
    }
    for (const int length : {200, 2048, 8192}) {
      run(kernels, "long attention", [&] { test_long_random(kernels, length, rounded); });
    }
    for (const int length : {1, 17, 70, 300}) {
      for (const Span span : {Span{0, 0}, Span{3, 40}, Span{64, 64}, Span{kUnlimited, 0},
                              Span{0, kUnlimited}, Span{1000, 1}}) {
        attention({length, 16, 1.0f, false, rounded, 0, span});
        attention({length, 26, 1.0f, false, rounded, 3.0f, span});
      }
    }
    attention({600, 4, 1.0f, false, rounded});
    attention({600, 4, 1.0f, false, rounded, 1.0f, Span{300, 128}});
    attention({300, 16, 1.0f, false, rounded});
    attention({500, 64, 1.0f, false, rounded});
    attention({300, 26, 1.0f, false, rounded, 3.0f});
    attention({300, 16, 3.0f, true, rounded});
  }
}

}  // namespace m3e
