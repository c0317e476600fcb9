// SPDX-License-Identifier: Apache-2.0
// The forward pass of one pack of texts by one team of threads.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "kernels/kernels.h"
#include "stop.h"
#include "term_weights.h"
#include "thread_pool.h"
#include "token_heads.h"
#include "weights.h"

namespace m3e {

// Where the results are written.
struct Output {
  float* vectors;  // [texts][dimension]
  float* states;   // [tokens][hidden]: hidden states before pooling; or null
  TokenOutput tokens{};
  float* term_weights = nullptr;  // [texts][vocabulary]; or null
};

// Texts that are computed together, as consecutive tokens without padding. None of them is empty.
struct Pack {
  const int32_t* ids;      // of the first text
  const int64_t* offsets;  // [texts + 1], relative to offsets[0]
  int texts;
  Output output;
  const int64_t* prompts = nullptr;  // [texts]: first tokens that are not pooled; or null
  const int32_t* types = nullptr;    // of the tokens, in the order of `ids`; or null: all 0
  const int64_t* attended_lengths = nullptr;  // [texts]: first tokens that are attended; or null

  int begin(int text) const { return static_cast<int>(offsets[text] - offsets[0]); }
  int length(int text) const { return static_cast<int>(offsets[text + 1] - offsets[text]); }
  int rows() const { return begin(texts); }
  int longest() const;
  Range within(int text, Range rows) const;  // those of `rows` that are a text's, from its first on
  int attended(int text) const {
    return attended_lengths ? static_cast<int>(attended_lengths[text]) : length(text);
  }
  Range pooled(int text) const;  // its tokens that are pooled; empty if all belong to the prompt
};

// Rows of floats, and room for their 8-bit codes.
struct Rows {
  float* x;
  int stride;
  QuantizedRows codes;

  float* row(int index) const { return x + static_cast<int64_t>(index) * stride; }
  Rows from(int row) const;
};

// Rows that pass through the feed-forward layers together, so that they stay in cache.
constexpr int kWideRows = 128;
constexpr int kGatedPanels = 32;  // of a product and its factors: with kWideRows, 256 KiB

// With so many rows per thread, each thread has its own rows.
inline bool enough_rows(int rows, int threads) {
  constexpr int kRowsEach = 48;
  return threads > 1 && rows >= threads * kRowsEach;
}

// Memory of a forward pass, reused by the next one.
class Workspace {
 public:
  void reserve(const Weights& weights, const Pack& pack, int threads);

 private:
  friend class Forward;
  struct Store {
    Buffer<float> x, scale, minimum;
    Buffer<uint8_t> codes;
    Rows rows;
    void reserve(int count, int columns, bool quantized);
  };

  void reserve_pooled(const Weights& weights, int texts, int rows);

  // context_ holds what a product reads: normalized states or the results of the attention.
  Store hidden_, qkv_, context_, wide_;
  Store gated_;     // a piece of a product and of its factors; empty if there are no gates
  Store embedded_;  // embeddings before their projection; empty if the model has none
  Store mixed_;     // weighted sum of the states so far; empty if only the last states are pooled
  // One row per text; empty if the kernels' own pooling is enough.
  Store early_, pooled_, dense_;
  Buffer<float> attention_;
  Buffer<float> halves_;  // scratch of products with float16 weights; empty if there are none
  Buffer<int32_t> positions_, no_positions_;  // no_positions_ is all zeros
  Buffer<float> no_position_;                 // the row of zeros that it refers to
  Buffer<float> token_rows_;                  // scratch of the token heads, then of terms
  int64_t token_rows_each_ = 0;               // floats of it per thread
  int64_t attention_each_ = 0;                // floats of scratch per thread
  int halves_each_ = 0;
  int wide_each_ = 0;   // rows of wide_ per thread, when threads have their own rows
  int gated_each_ = 0;  // rows of gated_ per thread
};

// One thread's share of a forward pass. A team divides products by rows if there are enough rows,
// and by output channels otherwise. The results are the same.
class Forward {
 public:
  Forward(const Weights& weights, const Kernels& kernels, const Pack& pack, Workspace& space,
          Team& team, int rank, Stop* stop = nullptr);
  void run();  // if stopped, does not write the vectors

 private:
  void embed();
  void add_token_types(const Rows& embedded);
  void embed_words();
  void project(const Rows& embedded);
  void look_whether_stopped();
  bool layer(const Layer& layer);  // returns false if stopped
  template <class Body>
  void for_blocks(Body body);
  void project_attention(const Layer& layer, Range rows);
  void after_attention(const Layer& layer, Range rows);
  void finish_attention(const Layer& layer, Range rows);
  void finish_attention_twice(const Layer& layer, Range rows);
  void attend(const Layer& layer);
  void attend(const Layer& layer, int text, int head, Range queries);
  void prepare(const Layer& layer, Range rows);
  void rotate(const Layer& layer, int text, Range rows, int column, int heads, int between);
  void feed_forward(const Layer& layer, int begin, int count);
  void quantize(const Matrix& matrix, const Rows& rows, Range range);
  void multiply(const Matrix& matrix, const Rows& from, const Epilogue& to, Range range);
  void multiply_gated(const Matrix& matrix, const Rows& from, const Rows& to, Range range);
  void multiply_here(const Matrix& matrix, const Rows& from, const Epilogue& to, Range range,
                     Range panels);
  Range share_of(const Matrix& matrix, int least) const;  // its panels that are this thread's
  void normalize(const NormWeights& norm, int width, const Rows& rows, Range range);
  void normalize(const NormWeights& norm, int width, const Rows& rows, float* to, Range range);
  Rows normalized(const NormWeights& norm, const Rows& hidden, const Rows& to, Range range);
  void pool();
  void pool_early();
  void pool_simply(Range texts);
  void pool_parts(int text);
  void mix(size_t state);
  void copy_states() const;
  void apply_token_heads() const;
  void weigh_terms();
  const Rows& pooled_states() const {
    return (weights_.state_weights ? space_.mixed_ : space_.hidden_).rows;
  }
  Rows apply_head(Range texts);

  Range share(int count, int step = 1) const;
  Range own(int count) const { return by_rows_ ? Range{0, count} : share(count); }
  // The next operation reads rows that other threads have written, unless each has its own rows.
  void step() {
    if (!by_rows_) team_.wait();
  }

  const Weights& weights_;
  const Kernels& kernels_;
  const Pack& pack_;
  Workspace& space_;
  Team& team_;
  const int rank_;
  Stop* const stop_;
  const bool by_rows_;
  const Range mine_;  // rows of this thread
};

}  // namespace m3e
