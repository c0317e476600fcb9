// SPDX-License-Identifier: Apache-2.0
// Steps of attention on floats: packed keys and values, scores, and which keys a query sees.
#pragma once

#include "gemm_float.h"
#include "rows.h"

namespace m3e {
namespace {

static_assert(kFloatTileRows <= 16, "attention_scratch has room for the scores of 16 rows");

constexpr float kLowest = -3e38f;  // below every score

// Those of `keys` that the query in `row` sees.
inline Range seen_by(const AttentionJob& job, Range keys, int row) {
  const int begin = row - job.span.before, end = row + job.span.after + 1;
  return {begin > keys.begin ? begin : keys.begin, end < keys.end ? end : keys.end};
}

// The queries of a job that see any of `keys`. They are adjacent.
inline Range queries_that_see(const AttentionJob& job, Range keys) {
  const int begin = keys.begin - job.span.after, end = keys.end + job.span.before;
  return {begin > job.queries.begin ? begin : job.queries.begin,
          end < job.queries.end ? end : job.queries.end};
}

// Keys as panels [keys / 16][head_size][16] (the transposed matrix), padded with zeros.
inline void pack_keys(const AttentionJob& job, Range some, float* to) {
  const float* keys = job.qkv + job.hidden + job.head;
  for (int begin = some.begin; begin < some.end; begin += 16) {
    const int lanes = some.end - begin < 16 ? some.end - begin : 16;
    for (int k = 0; k < job.head_size; ++k) {
      for (int lane = 0; lane < lanes; ++lane) {
        to[k * 16 + lane] = keys[static_cast<int64_t>(begin + lane) * job.stride + k];
      }
      for (int lane = lanes; lane < 16; ++lane) to[k * 16 + lane] = 0;
    }
    to += job.head_size * 16;
  }
}

// Values as panels [head_size / 16][values][16], padded with zeros.
inline void pack_values(const AttentionJob& job, Range some, float* to) {
  const float* values = job.qkv + 2 * job.hidden + job.head;
  for_columns(job.head_size, [&](int column, int lanes) {
    for (int row = some.begin; row < some.end; ++row) {
      store(to, load_some(values + static_cast<int64_t>(row) * job.stride + column, lanes));
      to += 16;
    }
  });
}

// scores[r][j] = query r · key j, for the keys of a few panels. Not inlined, like mix_panels: the
// compiler would keep its sums in memory.
template <int kRows, int kPanels>
[[gnu::noinline]] void score_panels(const float* queries, const AttentionJob& job,
                                    const float* keys, float* scores, int scores_stride) {
  Floats sums[kRows][kPanels];
  unroll<kRows>(
      [&](auto r) M3E_INLINE { unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); }); });
  accumulate(queries, job.stride, keys, static_cast<int64_t>(job.head_size) * 16, job.head_size,
             NothingAhead{}, sums);
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p)
                        M3E_INLINE { store(scores + r * scores_stride + p * 16, sums[r][p]); });
  });
}

template <int kRows>
inline void score_rows(const float* queries, const AttentionJob& job, const float* keys,
                       float* scores, int scores_stride) {
  for_panels<kFloatTilePanels>(scores_stride, [&](auto panels, int column, int) {
    score_panels<kRows, panels.value>(queries, job,
                                      keys + static_cast<int64_t>(column) * job.head_size,
                                      scores + column, scores_stride);
  });
}

// Replaces scores by factor · scores + bias.
inline void add_bias(const float* bias, int count, float factor, float* scores) {
  for_columns(count, [&](int c, int lanes) {
    store(scores + c, fma(load(scores + c), splat(factor), load_some(bias + c, lanes)));
  });
}

inline float highest(const float* scores, int length) {
  Floats most = splat(scores[0]);
  int column = 0;
  for (; column + 16 <= length; column += 16) most = larger(most, load(scores + column));
  float top = largest(most);
  for (; column < length; ++column) top = scores[column] > top ? scores[column] : top;
  return top;
}

}  // namespace
}  // namespace m3e
