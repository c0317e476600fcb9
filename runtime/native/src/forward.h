// The forward pass of one pack of texts by one team of threads.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "kernels/kernels.h"
#include "stop.h"
#include "thread_pool.h"
#include "weights.h"

namespace m3e {

// Where results go.
struct Output {
  float* vectors;  // [texts][dimension]
  float* states;   // [tokens][hidden]: the last hidden states; or null
};

// Texts that are computed together: a flat run of tokens without padding. None of them is empty.
struct Pack {
  const int32_t* ids;      // of the first text
  const int64_t* offsets;  // [texts + 1], where offsets[0] stands for `ids`
  int texts;
  Output output;
  const int64_t* prompts = nullptr;  // [texts]: first tokens that are not pooled; or null

  int begin(int text) const { return static_cast<int>(offsets[text] - offsets[0]); }
  int length(int text) const { return static_cast<int>(offsets[text + 1] - offsets[text]); }
  int rows() const { return begin(texts); }
  int longest() const;
  Range pooled(int text) const;  // of its tokens; empty where all are the prompt's
};

// Rows of floats, and room for their 8-bit codes.
struct Rows {
  float* x;
  int stride;
  QuantizedRows codes;

  float* row(int index) const { return x + static_cast<int64_t>(index) * stride; }
  Rows from(int row) const;
};

// The memory of a forward pass, kept from one to the next.
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

  Store hidden_, qkv_, context_, wide_;
  Store embedded_;  // before their projection; empty where there is none
  Store mixed_;     // the weighted sum of all states so far; empty where the last alone are pooled
  // a row for each text; empty where the kernels' own pooling is all
  Store early_, pooled_, dense_;
  Buffer<float> attention_;
  Buffer<int32_t> positions_, no_positions_;  // the latter all 0
  Buffer<float> no_position_;                 // the one row that these mean, of zeros
  int attention_each_ = 0;                    // floats of scratch for each thread
  int wide_each_ = 0;  // rows of wide_ for each thread, when rows are shared out
};

// One member's part of a forward pass. A team shares the products by rows when there are enough for
// everybody, else by output channels; what is computed is the same.
class Forward {
 public:
  Forward(const Weights& weights, const Kernels& kernels, const Pack& pack, Workspace& space,
          Team& team, int rank, Stop* stop = nullptr);
  void run();  // leaves the vectors as they are when it is stopped

 private:
  void embed();
  void embed_words();
  void project(const Rows& embedded);
  bool layer(const Layer& layer);  // false: stopped
  using Attention = void (*)(const AttentionJob&);
  void attend(Attention attention);
  void attend(Attention attention, int text, int head, Range queries);
  void feed_forward(const Layer& layer, int begin, int count);
  void quantize(const Matrix& matrix, const Rows& rows, Range range);
  void multiply(const Matrix& matrix, const Rows& from, const Epilogue& to, Range range);
  void normalize(const NormWeights& norm, int width, const Rows& rows, Range range);
  void pool();
  void pool_early();
  void pool_simply(Range texts);
  void pool_parts(int text);
  void mix(size_t state);
  void copy_states() const;
  const Rows& pooled_states() const {
    return (weights_.state_weights ? space_.mixed_ : space_.hidden_).rows;
  }
  Rows apply_head(Range texts);

  Range share(int count, int step = 1) const;
  Range own(int count) const { return by_rows_ ? Range{0, count} : share(count); }
  void step() {  // what follows reads rows that others have written, unless everybody has rows of
                 // their own
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
  const Range mine_;  // rows of this member
};

}  // namespace m3e
