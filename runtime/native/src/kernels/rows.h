// SPDX-License-Identifier: Apache-2.0
// Operations on single rows: embedding, normalization, rotation, gates, quantization, pooling.
#pragma once

#include "tiles.h"

namespace m3e {
namespace {

// Calls step(offset, lanes) over `columns` in vectors of sixteen; the last one may be partial.
template <class Step>
inline void for_columns(int columns, Step step) {
  int column = 0;
  for (; column + 16 <= columns; column += 16) step(column, 16);
  if (column < columns) step(column, columns - column);
}

inline Floats load_some(const float* p, int lanes) {
  return lanes == 16 ? load(p) : load_first(p, lanes);
}

inline void store_some(float* p, Floats x, int lanes) {
  if (lanes == 16) {
    store(p, x);
  } else {
    store_first(p, x, lanes);
  }
}

// The rows of the tables have no padding: reads the last vector of a row through a copy.
template <class Value, class Load>
inline Floats load_row_end(const Value* p, int lanes, Load load_all) {
  if (lanes == 16) return load_all(p);
  Value copy[16] = {};
  for (int i = 0; i < lanes; ++i) copy[i] = p[i];
  return load_all(copy);
}

inline Floats word_vector(const EmbeddingTable& table, int64_t id, int hidden, int column,
                          int lanes) {
  const int64_t at = id * hidden + column;
  if (table.words) return load_some(table.words + at, lanes);
  if (table.half_words) return load_row_end(table.half_words + at, lanes, load_half);
  return mul(load_row_end(table.word_codes + at, lanes, load_codes), splat(table.word_scales[id]));
}

inline Floats position_vector(const EmbeddingTable& table, int64_t position, int hidden, int column,
                              int lanes) {
  const int64_t at = position * hidden + column;
  if (table.positions) return load_some(table.positions + at, lanes);
  return load_row_end(table.half_positions + at, lanes, load_half);
}

inline void embed(const EmbeddingTable& table, const int32_t* ids, const int32_t* positions,
                  int hidden, float* out, int stride, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    float* to = out + static_cast<int64_t>(row) * stride;
    for_columns(hidden, [&](int column, int lanes) {
      const Floats word = word_vector(table, ids[row], hidden, column, lanes);
      store_some(to + column,
                 add(word, position_vector(table, positions[row], hidden, column, lanes)), lanes);
    });
  }
}

// A row's sums and extremes are chains of operations, each of which waits for the one before. Rows
// that are computed together fill the time. Calls body(number of rows, first row).
template <int kTogether, class Body>
inline void for_rows_together(Range rows, Body body) {
  int row = rows.begin;
  for (; row + kTogether <= rows.end; row += kTogether) body(Index<kTogether>{}, row);
  for (; row < rows.end; ++row) body(Index<1>{}, row);
}

template <int kRows>
M3E_INLINE inline void mean_of_rows(int hidden, const float* x, int64_t stride,
                                    Floats (&means)[kRows]) {
  Floats sums[kRows];
  unroll<kRows>([&](auto r) M3E_INLINE { sums[r] = zero(); });
  for_columns(hidden, [&](int c, int lanes) {
    unroll<kRows>([&](auto r)
                      M3E_INLINE { sums[r] = add(sums[r], load_some(x + r * stride + c, lanes)); });
  });
  const float per_column = 1.0f / static_cast<float>(hidden);
  unroll<kRows>([&](auto r) M3E_INLINE { means[r] = splat(sum(sums[r]) * per_column); });
}

template <NormKind kKind, int kRows>
inline void normalize_rows(const NormWeights& norm, int hidden, const float* x, float* out,
                           int64_t stride) {
  const float per_column = 1.0f / static_cast<float>(hidden);
  Floats sums[kRows], means[kRows], inverses[kRows];
  unroll<kRows>([&](auto r) M3E_INLINE { sums[r] = means[r] = zero(); });
  if constexpr (kKind == NormKind::layer) mean_of_rows(hidden, x, stride, means);
  for_columns(hidden, [&](int c, int lanes) {
    unroll<kRows>([&](auto r) M3E_INLINE {
      Floats centred = sub(load_some(x + r * stride + c, lanes), means[r]);
      if (lanes < 16) centred = keep_first(centred, lanes);
      sums[r] = fma(centred, centred, sums[r]);
    });
  });
  unroll<kRows>([&](auto r) M3E_INLINE {
    inverses[r] = splat(1.0f / __builtin_sqrtf(sum(sums[r]) * per_column + norm.epsilon));
  });
  for_columns(hidden, [&](int c, int lanes) {
    const Floats gamma = load_some(norm.gamma + c, lanes), beta = load_some(norm.beta + c, lanes);
    unroll<kRows>([&](auto r) M3E_INLINE {
      const int64_t at = r * stride + c;
      const Floats centred = mul(sub(load_some(x + at, lanes), means[r]), inverses[r]);
      store_some(out + at, fma(centred, gamma, beta), lanes);
    });
  });
}

template <NormKind kKind>
inline void normalize(const NormWeights& norm, int hidden, const float* x, float* out, int stride,
                      Range rows) {
  for_rows_together<kRowsSideBySide>(rows, [&](auto count, int row) {
    const int64_t at = static_cast<int64_t>(row) * stride;
    normalize_rows<kKind, count.value>(norm, hidden, x + at, out + at, stride);
  });
}

inline void rotate_head(const float* angles, int half, float* x) {
  for_columns(half, [&](int c, int lanes) {
    const Floats cosine = load_some(angles + c, lanes), sine = load_some(angles + half + c, lanes);
    const Floats left = load_some(x + c, lanes), right = load_some(x + half + c, lanes);
    store_some(x + c, fma(left, cosine, sub(zero(), mul(right, sine))), lanes);
    store_some(x + half + c, fma(right, cosine, mul(left, sine)), lanes);
  });
}

inline void rotate(const Rotation& rotation, float* x, int stride, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    const float* angles = rotation.table + static_cast<int64_t>(row) * rotation.size;
    float* head = x + static_cast<int64_t>(row) * stride;
    for (int i = 0; i < rotation.heads; ++i, head += rotation.between) {
      rotate_head(angles, rotation.size / 2, head);
    }
  }
}

// Calls body(row, values) with sixteen columns of each of some rows, multiplied by the smoothing.
template <int kRows, class Body>
inline void for_smoothed(const float* x, int64_t stride, const float* smoothing, int column,
                         int lanes, Body body) {
  const Floats factors = smoothing ? load_some(smoothing + column, lanes) : splat(1.0f);
  unroll<kRows>([&](auto r) M3E_INLINE {
    const Floats value = load_some(x + r * stride + column, lanes);
    body(r, smoothing ? mul(value, factors) : value);
  });
}

template <int kRows>
inline void quantize_rows(const float* x, int64_t stride, int columns, const float* smoothing,
                          const QuantizedRows& to, int row) {
  Floats low[kRows], high[kRows], start[kRows], steps[kRows];
  Floats zeros[kRows];  // or NaN
  unroll<kRows>([&](auto r) M3E_INLINE { zeros[r] = zero(); });
  for_smoothed<kRows>(x, stride, smoothing, 0, columns < 16 ? columns : 16,
                      [&](auto r, Floats value) M3E_INLINE { low[r] = high[r] = value; });
  for_columns(columns, [&](int column, int lanes) {
    for_smoothed<kRows>(x, stride, smoothing, column, lanes, [&](auto r, Floats value) M3E_INLINE {
      low[r] = smaller(low[r], value);
      high[r] = larger(high[r], value);
      zeros[r] = fma(value, zero(), zeros[r]);
    });
  });
  unroll<kRows>([&](auto r) M3E_INLINE {
    const float minimum = smallest(low[r]) + sum(zeros[r]), span = largest(high[r]) - minimum;
    steps[r] = splat(span > 0 ? 255.0f / span : 0.0f);
    start[r] = splat(minimum);
    to.scale[row + r] = span / 255.0f;
    to.minimum[row + r] = minimum;
  });
  uint8_t* codes = to.codes + static_cast<int64_t>(row) * to.stride;
  for_columns(columns, [&](int column, int lanes) {
    for_smoothed<kRows>(x, stride, smoothing, column, lanes, [&](auto r, Floats value) M3E_INLINE {
      store_bytes(codes + r * static_cast<int64_t>(to.stride) + column,
                  round_to_int(mul(sub(value, start[r]), steps[r])));
    });
  });
}

// Codes 0 … 255 span exactly the smallest to the largest value of the row. A row of equal values
// has scale 0. In a row with a NaN or an infinity, scale and minimum are NaN, and so is every
// product with it: the instructions for minimum and maximum may skip a NaN.
inline void quantize(const float* x, int stride, int columns, const float* smoothing,
                     const QuantizedRows& to, Range rows) {
  // Half of them: twice as many wide rows would not fit into the first cache.
  for_rows_together<(kRowsSideBySide + 1) / 2>(rows, [&](auto count, int row) {
    quantize_rows<count.value>(x + static_cast<int64_t>(row) * stride, stride, columns, smoothing,
                               to, row);
  });
}

// sentence-transformers' pooling; the smallest length is torch.nn.functional.normalize's 1e-12.
inline void pool(const float* x, int stride, int hidden, int length, bool first, bool normalize,
                 float* out) {
  const int rows = first ? 1 : length;
  const Floats count = splat(static_cast<float>(rows));
  Floats squares = zero();
  for_columns(hidden, [&](int column, int lanes) {
    Floats total = zero();
    for (int row = 0; row < rows; ++row) {
      total = add(total, load_some(x + static_cast<int64_t>(row) * stride + column, lanes));
    }
    const Floats mean = div(total, count);
    squares = fma(mean, mean, squares);
    store_some(out + column, mean, lanes);
  });
  if (!normalize) return;
  const float length_of = __builtin_sqrtf(sum(squares));
  const Floats inverse = splat(1.0f / (length_of > 1e-12f ? length_of : 1e-12f));
  for_columns(hidden, [&](int column, int lanes) {
    store_some(out + column, mul(load_some(out + column, lanes), inverse), lanes);
  });
}

}  // namespace
}  // namespace m3e
