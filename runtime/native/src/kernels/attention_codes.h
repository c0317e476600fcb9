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

// Writes [pairs][2]; returns the scale of the codes.
inline float pack_query(const float* query, int head_size, int16_t* to) {
  const float span = largest(largest_magnitudes(query, head_size, splat(kSmallestSpan)));
  const float steps = score_steps(head_size);
  for (int column = 0; column < head_size; column += 32) {
    store_pairs(to + column, code_pairs(query + column, head_size - column, splat(steps / span)));
  }
  return span / steps;
}

// Writes [keys / 16][pairs][16][2]; returns the scale of the codes. The last panel is filled with
// copies of the last key: the largest score stays the same.
inline float pack_keys(const AttentionJob& job, Range block, int16_t* to) {
  const auto key = [&](int index) {
    const int row = index < block.end ? index : block.end - 1;
    return job.qkv + static_cast<int64_t>(row) * job.stride + job.hidden + job.head;
  };
  Floats most = splat(kSmallestSpan);
  for (int row = block.begin; row < block.end; ++row) {
    most = largest_magnitudes(key(row), job.head_size, most);
  }
  const float span = largest(most), steps = score_steps(job.head_size);
  for (int begin = block.begin; begin < block.end; begin += 16) {
    for (int column = 0; column < job.head_size; column += 32) {
      Ints pairs[16];
      unroll<16>([&](auto lane) M3E_INLINE {
        pairs[lane] =
            code_pairs(key(begin + lane) + column, job.head_size - column, splat(steps / span));
      });
      transpose(pairs);
      unroll<16>([&](auto pair) M3E_INLINE { store_pairs(to + pair * 32, pairs[pair]); });
      to += 16 * 32;
    }
  }
  return span / steps;
}

// Writes [head_size / 16][kKeysTogether / 2][16][2], and the scale of each column.
inline void pack_values(const AttentionJob& job, Range block, int16_t* to, float* scales) {
  const float* values =
      job.qkv + static_cast<int64_t>(block.begin) * job.stride + 2 * job.hidden + job.head;
  for_columns(job.head_size, [&](int column, int lanes) {
    const auto value = [&](int row) {
      return load_some(values + static_cast<int64_t>(row) * job.stride + column, lanes);
    };
    Floats span = splat(kSmallestSpan);
    for (int row = 0; row < block.size(); ++row) span = larger(span, magnitude(value(row)));
    store(scales + column, mul(span, splat(1 / kValueSteps)));
    const Floats steps = div(splat(kValueSteps), span);
    for (int begin = 0; begin < block.size(); begin += 32) {
      for (int row = begin; row < begin + 16 && row < block.size(); ++row) {
        const Ints second = row + 16 < block.size() ? code(value(row + 16), steps) : no_pairs();
        store_pairs(to + begin * 16 + (row - begin) * 32, pair_up(code(value(row), steps), second));
      }
    }
    to += kKeysTogether * 16;
  });
}

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

// Writes the codes of `count` shares, up to a multiple of 32; returns their sums in 16 lanes.
inline Ints pack_shares(const float* scores, int count, float top, float lowest, float factor,
                        int16_t* to) {
  static const int16_t kOnes[2] = {1, 1};
  const auto codes = [&](int at) {
    const Floats difference = larger(sub(load(scores + at), splat(top)), splat(lowest));
    const Floats all = share(difference, splat(factor));
    return bits_of(count - at < 16 ? keep_first(all, count - at) : all);
  };
  Ints sums = no_pairs();
  for (int at = 0; at < count; at += 32) {
    const Ints pairs = pair_up(codes(at), at + 16 < count ? codes(at + 16) : no_pairs());
    sums = dot_pairs(sums, splat_pair(kOnes), pairs);
    store_pairs(to + at, pairs);
  }
  return sums;
}

}  // namespace
}  // namespace m3e
