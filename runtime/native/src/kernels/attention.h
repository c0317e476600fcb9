// SPDX-License-Identifier: Apache-2.0
// Attention of one head: scores, softmax and the weighted mean of values, a few query rows at a
// time.
#pragma once

#include "attention_blocks.h"

namespace m3e {
namespace {

// scores → e^(factor · (score − largest)); returns the sum. Lanes past `length` become zero.
inline float exponentiate(float* scores, int length, float factor) {
  const Floats scale = splat(factor), top = splat(highest(scores, length));
  Floats total = zero();
  for_columns(length, [&](int c, int lanes) {
    // Subtracts first: the difference is exact where it matters, however large the scores are.
    Floats e = exp_negative(mul(sub(load(scores + c), top), scale));
    if (lanes < 16) e = keep_first(e, lanes);
    total = add(total, e);
    store(scores + c, e);
  });
  return sum(total);
}

// out[r] = inverse[r] · Σⱼ scores[r][j] · value j, for a few panels of columns; the last has
// `lanes` columns. Sums each block of keys from zero: small shares added one by one to a large sum
// would lose digits.
template <int kRows, int kPanels>
[[gnu::noinline]] void mix_panels(const AttentionJob& job, const float* values, const float* scores,
                                  int scores_stride, const float* inverse, float* out, int lanes) {
  for_blocks({0, job.length}, kInputsBlock, [&](Range keys) {
    Floats sums[kRows][kPanels];
    unroll<kRows>([&](auto r) M3E_INLINE {
      unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); });
    });
    accumulate(scores + keys.begin, scores_stride, values + static_cast<int64_t>(keys.begin) * 16,
               static_cast<int64_t>(job.length) * 16, keys.size(), NothingAhead{}, sums);
    unroll<kRows>([&](auto r) M3E_INLINE {
      unroll<kPanels>([&](auto p) M3E_INLINE {
        float* to = out + static_cast<int64_t>(r) * job.out_stride + p * 16;
        const int count = p == kPanels - 1 ? lanes : 16;
        const Floats mixed = mul(sums[r][p], splat(inverse[r]));
        store_some(to, keys.begin ? add(mixed, load_some(to, count)) : mixed, count);
      });
    });
  });
}

template <int kRows>
inline void mix_values(const AttentionJob& job, const float* values, const float* scores,
                       int scores_stride, const float* inverse, float* out) {
  for_panels<kFloatTilePanels>(job.head_size, [&](auto panels, int column, int lanes) {
    mix_panels<kRows, panels.value>(job, values + static_cast<int64_t>(column) * job.length, scores,
                                    scores_stride, inverse, out + column, lanes);
  });
}

// Of texts whose keys and values stay in the second-level cache. Scratch memory, in floats, with
// columns = length rounded up to 16; see attention_scratch.cpp:
//   keys    columns · head_size
//   values  length · head_size rounded up to 16
//   scores  kFloatTileRows · columns
inline void attention_at_once(const AttentionJob& job) {
  const int columns = round_up(job.length, 16);
  float* keys = job.scratch;
  float* values = keys + static_cast<int64_t>(columns) * job.head_size;
  float* scores = values + static_cast<int64_t>(job.length) * round_up(job.head_size, 16);
  pack_keys(job, {0, job.length}, keys);
  pack_values(job, {0, job.length}, values);
  const float factor = 1.0f / __builtin_sqrtf(static_cast<float>(job.head_size));
  for_row_tiles(job.queries, kFloatTileRows, [&](int row, int count) {
    const float* queries = job.qkv + static_cast<int64_t>(row) * job.stride + job.head;
    float* out = job.out + static_cast<int64_t>(row) * job.out_stride + job.head;
    Constant<kFloatTileRows>::call(count, [&](auto tall) {
      score_rows<tall.value>(queries, job, keys, scores, columns);
      float inverse[kFloatTileRows];
      for (int r = 0; r < count; ++r) {
        float* of_row = scores + r * columns;
        if (job.bias) add_bias(job.bias - (row + r), job.length, factor, of_row);
        inverse[r] = 1.0f / exponentiate(of_row, job.length, job.bias ? 1 : factor);
      }
      mix_values<tall.value>(job, values, scores, columns, inverse, out);
    });
  });
}

inline void attention(const AttentionJob& job) {
  if (job.length <= kLengthAtOnce && job.span.is_full()) return attention_at_once(job);
  attention_in_blocks(job);
}

}  // namespace
}  // namespace m3e
