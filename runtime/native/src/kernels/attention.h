// Attention of one head: scores, softmax and the weighted mean of values, a few query rows at a time.
#pragma once

#include "gemm_float.h"
#include "rows.h"

namespace m3e {
namespace {

// Keys as panels [length / 16][head_size][16] (the transposed matrix), padded with zeros.
inline void pack_keys(const AttentionJob& job, float* to) {
  const float* keys = job.qkv + job.hidden + job.head;
  for (int begin = 0; begin < job.length; begin += 16) {
    const int lanes = job.length - begin < 16 ? job.length - begin : 16;
    for (int k = 0; k < job.head_size; ++k) {
      for (int lane = 0; lane < lanes; ++lane) {
        to[k * 16 + lane] = keys[static_cast<int64_t>(begin + lane) * job.stride + k];
      }
      for (int lane = lanes; lane < 16; ++lane) to[k * 16 + lane] = 0;
    }
    to += job.head_size * 16;
  }
}

// Values as panels [head_size / 16][length][16], padded with zeros.
inline void pack_values(const AttentionJob& job, float* to) {
  const float* values = job.qkv + 2 * job.hidden + job.head;
  for_columns(job.head_size, [&](int column, int lanes) {
    for (int row = 0; row < job.length; ++row) {
      store(to, load_some(values + static_cast<int64_t>(row) * job.stride + column, lanes));
      to += 16;
    }
  });
}

// scores[r][j] = query r · key j, at most kRows rows; returns nothing past the last key's panel.
template <int kRows>
inline void score_rows(const float* queries, const AttentionJob& job, const float* keys, float* scores,
                       int scores_stride) {
  const int panels = scores_stride / 16;
  const int64_t panel_stride = static_cast<int64_t>(job.head_size) * 16;
  int panel = 0;
  const auto score = [&](auto wide) {
    Floats sums[kRows][wide.value];
    for (auto& row : sums) {
      for (auto& vector : row) vector = zero();
    }
    accumulate(queries, job.stride, keys + panel * panel_stride, panel_stride, job.head_size, sums);
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < wide.value; ++p) store(scores + r * scores_stride + (panel + p) * 16, sums[r][p]);
    }
  };
  for (; panel + kFloatTilePanels <= panels; panel += kFloatTilePanels) {
    score(Constant<kFloatTilePanels>::template Is<kFloatTilePanels>{});
  }
  for (; panel < panels; ++panel) score(Constant<1>::Is<1>{});
}

// scores → e^(factor · (score − largest)); returns the sum. Lanes past `length` become zero.
inline float exponentiate(float* scores, int length, float factor) {
  Floats highest = splat(scores[0]);
  int column = 0;
  for (; column + 16 <= length; column += 16) highest = larger(highest, load(scores + column));
  float top = largest(highest);
  for (; column < length; ++column) top = scores[column] > top ? scores[column] : top;
  const Floats scale = splat(factor), offset = splat(-top * factor);
  Floats total = zero();
  for_columns(length, [&](int c, int lanes) {
    Floats e = exp_negative(fma(load(scores + c), scale, offset));
    if (lanes < 16) e = keep_first(e, lanes);
    total = add(total, e);
    store(scores + c, e);
  });
  return sum(total);
}

template <int kRows>
inline void mix_values(const AttentionJob& job, const float* values, const float* scores, int scores_stride,
                       const float* inverse, float* out) {
  for_columns(job.head_size, [&](int column, int lanes) {
    Floats sums[kRows][1];
    for (auto& row : sums) row[0] = zero();
    accumulate(scores, scores_stride, values + static_cast<int64_t>(column) * job.length, 0, job.length,
               sums);
    for (int r = 0; r < kRows; ++r) {
      float* to = out + static_cast<int64_t>(r) * job.out_stride + column;
      store_some(to, mul(sums[r][0], splat(inverse[r])), lanes);
    }
  });
}

void attention(const AttentionJob& job) {
  const int columns = round_up(job.length, 16);
  float* keys = job.scratch;
  float* values = keys + static_cast<int64_t>(columns) * job.head_size;
  float* scores = values + static_cast<int64_t>(job.length) * round_up(job.head_size, 16);
  pack_keys(job, keys);
  pack_values(job, values);
  const float factor = 1.0f / __builtin_sqrtf(static_cast<float>(job.head_size));
  for_row_tiles(job.queries, kFloatTileRows, [&](int row, int count) {
    const float* queries = job.qkv + static_cast<int64_t>(row) * job.stride + job.head;
    float* out = job.out + static_cast<int64_t>(row) * job.out_stride + job.head;
    Constant<kFloatTileRows>::call(count, [&](auto tall) {
      score_rows<tall.value>(queries, job, keys, scores, columns);
      float inverse[kFloatTileRows];
      for (int r = 0; r < count; ++r) {
        inverse[r] = 1.0f / exponentiate(scores + r * columns, job.length, factor);
      }
      mix_values<tall.value>(job, values, scores, columns, inverse, out);
    });
  });
}

}  // namespace
}  // namespace m3e
