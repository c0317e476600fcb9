// SPDX-License-Identifier: Apache-2.0
// Attention on 16-bit codes, two of which are multiplied in the time of one float. For encoders
// whose other products are int8, with steps of 1/255. Values have steps of
// 1/1023 of the largest in their column. A share below 1/65534 of the largest in its row becomes
// zero, so 512 keys lose at most 1 % of the weight.
//
// Queries have one scale per row, keys one in total, values one per column. Sums are exact and fit
// in 32 bits. Include a dot_*.h and a pairs_*.h first.
#pragma once

#include "attention.h"
#include "gemm_int8.h"

namespace m3e {
namespace {

constexpr float kShareSteps = 32767;  // codes of e^(score - largest score)
constexpr float kValueSteps = 1023;
constexpr int kKeysTogether = 64;  // 32767 · 1023 · 64 < 2³¹
constexpr float kSmallestSpan = 1e-30f;
static_assert(kInt8TileRows <= 16, "attention_scratch and Int16Space::rows have room for 16");

// Largest code of queries and keys: head_size products of two of them fit.
inline float score_steps(int head_size) {
  const int steps = static_cast<int>(__builtin_sqrt(2147483647.0 / head_size));
  return static_cast<float>(steps < 32767 ? steps : 32767);
}

// The parts of a job's scratch memory. In floats they are
// columns · wide + 1.5 · kInt8TileRows · columns + 9 · wide; see attention_scratch.cpp.
struct Int16Space {
  explicit Int16Space(const AttentionJob& job)
      : wide(round_up(job.head_size, 16)),
        columns(round_up(job.length, 16)),
        scores(job.scratch),
        value_scales(scores + kInt8TileRows * columns),
        shares(reinterpret_cast<int16_t*>(value_scales + wide)),
        rows(shares + kInt8TileRows * columns),
        keys(rows + 16 * wide),
        values(keys + static_cast<int64_t>(columns) * wide) {}
  const int wide, columns;
  float* const scores;        // [tile rows][columns]
  float* const value_scales;  // [wide]
  int16_t* const shares;      // [tile rows][columns]
  int16_t* const rows;    // [16][wide]: codes of the queries of a tile, or of the keys of a panel
  int16_t* const keys;    // [columns / 16][head_size / 2][16][2]
  int16_t* const values;  // [wide / 16][length / 2][16][2]
};

inline int pairs_of(int count) { return (count + 1) / 2; }

// Writes the codes of `count` floats, and zeros up to a multiple of 16.
inline void store_codes(const float* x, int count, float steps, int16_t* to) {
  for_columns(count, [&](int column, int lanes) {
    store_shorts(to + column, round_to_int(mul(load_some(x + column, lanes), splat(steps))));
  });
}

inline Floats largest_magnitudes(const float* x, int count, Floats so_far) {
  for_columns(count, [&](int c, int lanes) {
    so_far = larger(so_far, magnitude(load_some(x + c, lanes)));
  });
  return so_far;
}

// Returns the scale of the codes.
inline float pack_key_codes(const AttentionJob& job, const Int16Space& space) {
  const float* keys = job.qkv + job.hidden + job.head;
  Floats most = splat(kSmallestSpan);
  for (int row = 0; row < job.length; ++row) {
    most = largest_magnitudes(keys + static_cast<int64_t>(row) * job.stride, job.head_size, most);
  }
  const float span = largest(most), steps = score_steps(job.head_size);
  const int pairs = pairs_of(job.head_size);
  int16_t* to = space.keys;
  for (int begin = 0; begin < space.columns; begin += 16) {
    for (int lane = 0; lane < 16; ++lane) {
      const bool exists = begin + lane < job.length;
      const float* key = keys + static_cast<int64_t>(exists ? begin + lane : begin) * job.stride;
      store_codes(key, job.head_size, exists ? steps / span : 0, space.rows + lane * space.wide);
    }
    for (int pair = 0; pair < pairs; ++pair, to += 32) {
      for (int lane = 0; lane < 16; ++lane) {
        __builtin_memcpy(to + 2 * lane, space.rows + lane * space.wide + 2 * pair, 4);
      }
    }
  }
  return span / steps;
}

inline void pack_value_codes(const AttentionJob& job, const Int16Space& space) {
  const float* values = job.qkv + 2 * job.hidden + job.head;
  int16_t* to = space.values;
  for_columns(job.head_size, [&](int column, int lanes) {
    const auto row_of = [&](int row) {
      return load_some(values + static_cast<int64_t>(row) * job.stride + column, lanes);
    };
    Floats span = splat(kSmallestSpan);
    for (int row = 0; row < job.length; ++row) span = larger(span, magnitude(row_of(row)));
    store(space.value_scales + column, mul(span, splat(1 / kValueSteps)));
    const Floats steps = div(splat(kValueSteps), span);
    for (int row = 0; row < job.length; row += 2, to += 32) {
      const Ints second =
          row + 1 < job.length ? round_to_int(mul(row_of(row + 1), steps)) : no_sum();
      store_pairs(to, round_to_int(mul(row_of(row), steps)), second);
    }
  });
}

template <int kRows, int kPanels>
M3E_INLINE inline void accumulate_pairs(const int16_t* x, int64_t stride, const int16_t* panels,
                                        int64_t panel_stride, int pairs,
                                        Ints (&sums)[kRows][kPanels]) {
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = no_sum(); });
  });
  for (int pair = 0; pair < pairs; ++pair) {
    Ints column[kPanels];
    unroll<kPanels>(
        [&](auto p) M3E_INLINE { column[p] = load_pairs(panels + p * panel_stride + pair * 32); });
    unroll<kRows>([&](auto r) M3E_INLINE {
      const auto value = splat_pair(x + r * stride + 2 * pair);
      unroll<kPanels>([&](auto p) M3E_INLINE {
        sums[r][p] = dot_pairs(sums[r][p], value, column[p]);
        settle(sums[r][p]);
      });
    });
  }
}

template <int kRows, int kPanels>
[[gnu::noinline]] void score_code_panels(const Int16Space& space, int pairs, int column) {
  Ints sums[kRows][kPanels];
  const int64_t panel_stride = static_cast<int64_t>(pairs) * 32;
  accumulate_pairs(space.rows, space.wide, space.keys + column / 16 * panel_stride, panel_stride,
                   pairs, sums);
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE {
      store(space.scores + r * space.columns + column + p * 16, to_float(sums[r][p]));
    });
  });
}

// Writes codes of e^(factor · (score − largest)), and zeros up to a multiple of 16. Returns the sum
// of the codes.
inline float share_codes(const float* scores, int length, float factor, int16_t* to) {
  constexpr float kLog2E = 1.44269502f;
  const Floats scale = splat(factor * kLog2E), top = splat(highest(scores, length));
  Floats total = zero();
  for_columns(length, [&](int column, int lanes) {
    // Subtracts first: the difference is never above zero, so no code exceeds kShareSteps.
    Floats share =
        mul(power_of_two(mul(sub(load(scores + column), top), scale)), splat(kShareSteps));
    if (lanes < 16) share = keep_first(share, lanes);
    const Ints codes = round_to_int(share);
    total = add(total, to_float(codes));
    store_shorts(to + column, codes);
  });
  return sum(total);
}

template <int kRows, int kPanels>
[[gnu::noinline]] void mix_code_panels(const AttentionJob& job, const Int16Space& space,
                                       const float* inverse, float* out, int column, int lanes) {
  const int64_t panel_stride = static_cast<int64_t>(pairs_of(job.length)) * 32;
  const int16_t* values = space.values + column / 16 * panel_stride;
  for_blocks({0, job.length}, kKeysTogether, [&](Range keys) {
    Ints sums[kRows][kPanels];
    accumulate_pairs(space.shares + keys.begin, space.columns, values + keys.begin * 16,
                     panel_stride, pairs_of(keys.size()), sums);
    unroll<kPanels>([&](auto p) M3E_INLINE {
      const Floats scales = load(space.value_scales + column + p * 16);
      unroll<kRows>([&](auto r) M3E_INLINE {
        float* to = out + static_cast<int64_t>(r) * job.out_stride + column + p * 16;
        const int count = p == kPanels - 1 ? lanes : 16;
        const Floats mixed = mul(mul(to_float(sums[r][p]), scales), splat(inverse[r]));
        store_some(to, keys.begin ? add(mixed, load_some(to, count)) : mixed, count);
      });
    });
  });
}

template <int kRows>
inline void attend_rows(const AttentionJob& job, const Int16Space& space, int row,
                        float key_scale) {
  const float steps = score_steps(job.head_size);
  const float factor = key_scale / (steps * __builtin_sqrtf(static_cast<float>(job.head_size)));
  float factors[kRows], inverse[kRows];
  for (int r = 0; r < kRows; ++r) {
    const float* query = job.qkv + static_cast<int64_t>(row + r) * job.stride + job.head;
    const float span = largest(largest_magnitudes(query, job.head_size, splat(kSmallestSpan)));
    store_codes(query, job.head_size, steps / span, space.rows + r * space.wide);
    factors[r] = factor * span;
  }
  for_panels<kInt8TilePanels>(space.columns, [&](auto panels, int column, int) {
    score_code_panels<kRows, panels.value>(space, pairs_of(job.head_size), column);
  });
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = static_cast<int64_t>(r) * space.columns;
    const float left = add_bias(job, row + r, factors[r], space.scores + at);
    inverse[r] = 1.0f / share_codes(space.scores + at, job.length, left, space.shares + at);
  }
  float* out = job.out + static_cast<int64_t>(row) * job.out_stride + job.head;
  for_panels<kInt8TilePanels>(job.head_size, [&](auto panels, int column, int lanes) {
    mix_code_panels<kRows, panels.value>(job, space, inverse, out, column, lanes);
  });
}

void attention_int16(const AttentionJob& job) {
  const Int16Space space(job);
  const float key_scale = pack_key_codes(job, space);
  pack_value_codes(job, space);
  for_row_tiles(job.queries, kInt8TileRows, [&](int row, int count) {
    Constant<kInt8TileRows>::call(
        count, [&](auto tall) { attend_rows<tall.value>(job, space, row, key_scale); });
  });
}

}  // namespace
}  // namespace m3e
