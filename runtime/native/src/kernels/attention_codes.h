// SPDX-License-Identifier: Apache-2.0
// 16-bit codes of queries, keys, values and shares (what softmax gives). Products add pairs of
// them, so codes lie in pairs: 16 numbers, each beside the one 16 places on. Thus two vectors of
// floats become one vector of pairs. Include a dot_*.h and a pairs_*.h first.
#pragma once

#include "rows.h"

namespace m3e {
namespace {

// Keys that are computed together. Each such block has scales of its own.
constexpr int kKeysTogether = 64;
constexpr float kShareSteps = 32767;  // codes of e^(score - largest score of the block)
constexpr float kValueSteps = 1023;   // 32767 · 1023 · 64 < 2³¹
constexpr float kSmallestSpan = 1e-30f;
constexpr float kWhole = 12582912.0f;  // 1.5 · 2²³

// Largest code of queries and keys: head_size products of two of them fit.
inline float score_steps(int head_size) {
  const int steps = static_cast<int>(__builtin_sqrt(2147483647.0 / head_size));
  return static_cast<float>(steps < 32767 ? steps : 32767);
}

inline int pairs_of(int count) { return round_up(count, 32) / 2; }

// The code is in the lower half: adding kWhole drops the fraction by rounding.
inline Ints code(Floats x, Floats steps) { return bits_of(fma(x, steps, splat(kWhole))); }

inline Floats load_up_to(const float* p, int count) {
  return count < 16 ? load_first(p, count) : load(p);
}

// Pairs of the first 32 of `count` numbers. Codes past `count` are zero.
inline Ints code_pairs(const float* x, int count, Floats steps) {
  const Ints first = code(load_up_to(x, count), steps);
  return pair_up(first, count > 16 ? code(load_up_to(x + 16, count - 16), steps) : no_pairs());
}

inline Floats largest_magnitudes(const float* x, int count, Floats so_far) {
  for_columns(count, [&](int c, int lanes) {
    so_far = larger(so_far, magnitude(load_some(x + c, lanes)));
  });
  return so_far;
}

// Those of the numbers [column, column + 32) of a row of `count`.
inline Ints code_pairs_at(const float* x, int column, int count, Floats steps) {
  return column < count ? code_pairs(x + column, count - column, steps) : no_pairs();
}

// Codes are steps of span / score_steps. That is the scale of the codes.
inline float span_of_query(const float* query, int head_size) {
  return largest(largest_magnitudes(query, head_size, splat(kSmallestSpan)));
}

// Beyond the block, copies of its last key: the largest score stays the same.
inline const float* key_of_block(const AttentionJob& job, Range block, int index) {
  const int row = index < block.end ? index : block.end - 1;
  return job.qkv + static_cast<int64_t>(row) * job.stride + job.hidden + job.head;
}

inline float span_of_keys(const AttentionJob& job, Range block) {
  Floats most = splat(kSmallestSpan);
  for (int row = block.begin; row < block.end; ++row) {
    most = largest_magnitudes(key_of_block(job, block, row), job.head_size, most);
  }
  return largest(most);
}

// One vector of columns of the values of a block of keys, as codes.
class ValueCodes {
 public:
  // Also writes the scales of the columns.
  ValueCodes(const AttentionJob& job, Range block, int column, int lanes, float* scales)
      : from_(job.qkv + static_cast<int64_t>(block.begin) * job.stride + 2 * job.hidden + job.head +
              column),
        stride_(job.stride),
        rows_(block.size()),
        lanes_(lanes) {
    Floats span = splat(kSmallestSpan);
    for (int row = 0; row < rows_; ++row) span = larger(span, magnitude(value(row)));
    store(scales + column, mul(span, splat(1 / kValueSteps)));
    steps_ = div(splat(kValueSteps), span);
  }
  // Of the rows `row` and `row` + 16. Rows behind the block have codes of zero.
  Ints pairs(int row) const { return pair_up(code_or_zero(row), code_or_zero(row + 16)); }

 private:
  Floats value(int row) const { return load_some(from_ + row * stride_, lanes_); }
  Ints code_or_zero(int row) const { return row < rows_ ? code(value(row), steps_) : no_pairs(); }

  const float* from_;
  int64_t stride_;
  int rows_, lanes_;
  Floats steps_;
};

// Codes of 2ˣ for x = factor · difference ≤ 0, in the lower halves. `difference` is above -100 /
// factor. The polynomial is power_of_two's (elementwise.h).
inline Floats share(Floats difference, Floats factor) {
  // The exponent of a power of two is in the lowest bits of exponent + kBias.
  constexpr float kBias = kWhole + 127;
  const Floats exponent = fma(difference, factor, splat(kBias));
  const Floats f = fma(difference, factor, sub(splat(kBias), exponent));
  Floats y = splat(kShareSteps * 9.56051052e-3f);
  y = fma(y, f, splat(kShareSteps * 5.59170395e-2f));
  y = fma(y, f, splat(kShareSteps * 2.40249813e-1f));
  y = fma(y, f, splat(kShareSteps * 6.93121970e-1f));
  y = fma(y, f, splat(kShareSteps * 9.99999166e-1f));
  return fma(y, from_exponent(exponent), splat(kWhole));
}

// Scores of one row and a block of keys, and how they become shares.
struct ScoresOfRow {
  const float* scores;
  int count;
  float top, lowest, factor;
};

// Codes of the shares [at, at + 32), which are zero past `count`; adds them to `sums`.
inline Ints share_pairs(const ScoresOfRow& row, int at, Ints& sums) {
  static const int16_t kOnes[2] = {1, 1};
  const auto codes = [&](int begin) {
    const Floats difference =
        larger(sub(load(row.scores + begin), splat(row.top)), splat(row.lowest));
    const Floats all = share(difference, splat(row.factor));
    const int left = row.count - begin;
    return bits_of(left < 16 ? keep_first(all, left) : all);
  };
  const Ints pairs = pair_up(codes(at), at + 16 < row.count ? codes(at + 16) : no_pairs());
  sums = dot_pairs(sums, splat_pair(kOnes), pairs);
  return pairs;
}

}  // namespace
}  // namespace m3e
