// SPDX-License-Identifier: Apache-2.0
// Operations on single rows: embedding, layer normalization, quantization, pooling.
#pragma once

#include "elementwise.h"
#include "kernels.h"

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

inline void layer_norm(const NormWeights& norm, int hidden, float* x, int stride, Range rows) {
  const float per_column = 1.0f / static_cast<float>(hidden);
  for (int row = rows.begin; row < rows.end; ++row) {
    float* values = x + static_cast<int64_t>(row) * stride;
    Floats total = zero();
    for_columns(hidden,
                [&](int c, int lanes) { total = add(total, load_some(values + c, lanes)); });
    const Floats mean = splat(sum(total) * per_column);
    Floats squares = zero();
    for_columns(hidden, [&](int c, int lanes) {
      Floats centred = sub(load_some(values + c, lanes), mean);
      if (lanes < 16) centred = keep_first(centred, lanes);
      squares = fma(centred, centred, squares);
    });
    const float deviation = __builtin_sqrtf(sum(squares) * per_column + norm.epsilon);
    const Floats inverse = splat(1.0f / deviation);
    for_columns(hidden, [&](int c, int lanes) {
      const Floats centred = mul(sub(load_some(values + c, lanes), mean), inverse);
      const Floats scaled =
          fma(centred, load_some(norm.gamma + c, lanes), load_some(norm.beta + c, lanes));
      store_some(values + c, scaled, lanes);
    });
  }
}

inline Floats smoothed(const float* x, const float* smoothing, int column, int lanes) {
  const Floats value = load_some(x + column, lanes);
  return smoothing ? mul(value, load_some(smoothing + column, lanes)) : value;
}

// Codes 0 … 255 span exactly the smallest to the largest value of the row. A row of equal values
// has scale 0. In a row with a NaN or an infinity, scale and minimum are NaN, and so is every
// product with it: the instructions for minimum and maximum may skip a NaN.
inline void quantize(const float* x, int stride, int columns, const float* smoothing,
                     const QuantizedRows& to, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    const float* values = x + static_cast<int64_t>(row) * stride;
    Floats low = smoothed(values, smoothing, 0, columns < 16 ? columns : 16), high = low;
    Floats zeros = zero();  // or NaN
    for_columns(columns, [&](int column, int lanes) {
      const Floats value = smoothed(values, smoothing, column, lanes);
      low = smaller(low, value);
      high = larger(high, value);
      zeros = fma(value, zero(), zeros);
    });
    const float minimum = smallest(low) + sum(zeros), span = largest(high) - minimum;
    const Floats steps = splat(span > 0 ? 255.0f / span : 0.0f), start = splat(minimum);
    uint8_t* codes = to.codes + static_cast<int64_t>(row) * to.stride;
    for_columns(columns, [&](int column, int lanes) {
      const Floats value = smoothed(values, smoothing, column, lanes);
      store_bytes(codes + column, round_to_int(mul(sub(value, start), steps)));
    });
    to.scale[row] = span / 255.0f;
    to.minimum[row] = minimum;
  }
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
