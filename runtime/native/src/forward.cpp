// SPDX-License-Identifier: Apache-2.0
#include "forward.h"

#include <algorithm>
#include <utility>

namespace m3e {
namespace {

constexpr int kRowsAtOnce = 256;    // up to which all operations of a layer take all rows
constexpr int kTileRows = 16;       // rows are divided in units of a tile's height
constexpr int kPanelsTogether = 4;  // output channels are divided in units of 64

// Adds rows of `width` numbers of `from` to those of `to`.
void add_rows(const Rows& from, const Rows& to, int width, Range range) {
  for (int row = range.begin; row < range.end; ++row) {
    const float* added = from.row(row);
    float* sum = to.row(row);
    for (int column = 0; column < width; ++column) sum[column] += added[column];
  }
}

// While it exists, this thread can run the functions of a table.
class PreparedThread {
 public:
  explicit PreparedThread(const Kernels& kernels) : kernels_(kernels) { kernels_.prepare_thread(); }
  ~PreparedThread() { kernels_.release_thread(); }
  PreparedThread(const PreparedThread&) = delete;
  PreparedThread& operator=(const PreparedThread&) = delete;

 private:
  const Kernels& kernels_;
};

}  // namespace

Forward::Forward(const Weights& weights, const Kernels& kernels, const Pack& pack, Workspace& space,
                 Team& team, int rank, Stop* stop)
    : weights_(weights),
      kernels_(kernels),
      pack_(pack),
      space_(space),
      team_(team),
      rank_(rank),
      stop_(stop),
      by_rows_(team.size() == 1 || enough_rows(pack.rows(), team.size())),
      mine_(share(pack.rows(), by_rows_ ? kTileRows : 1)) {}

void Forward::run() {
  const PreparedThread prepared(kernels_);
  const Early early = weights_.pooling.early;
  if (early == Early::words) {
    embed_words();
    pool_early();
    team_.wait();  // the embeddings overwrite the words
  }
  embed();
  // No thread overwrites these states before all have reached the next layer's queries, keys and
  // values.
  if (early == Early::embeddings) pool_early();
  mix(0);
  for (const Layer& each : weights_.layers) {
    if (!layer(each)) return;
    if (weights_.final_norm.gamma && &each == &weights_.layers.back()) {
      normalize(weights_.final_norm, weights_.sizes.hidden, space_.hidden_.rows, mine_);
    }
    mix(static_cast<size_t>(&each - weights_.layers.data()) + 1);
    if (early == Early::first_layer && &each == &weights_.layers.front()) pool_early();
  }
  if (pack_.output.states) copy_states();
  if (pack_.output.tokens.any()) apply_token_heads();
  if (pack_.output.term_weights) weigh_terms();
  team_.wait();
  pool();
}

// Copies this thread's rows. No other thread has written them since the last wait.
void Forward::copy_states() const {
  const Rows& rows = pooled_states();
  const int hidden = weights_.sizes.hidden;
  for (int row = mine_.begin; row < mine_.end; ++row) {
    const float* from = rows.row(row);
    std::copy(from, from + hidden, pack_.output.states + static_cast<int64_t>(row) * hidden);
  }
}

void Forward::apply_token_heads() const {
  const Rows& rows = pooled_states();
  m3e::apply_token_heads(weights_.token_heads, kernels_, rows.x, rows.stride, mine_,
                         pack_.output.tokens,
                         space_.token_rows_.data() + rank_ * space_.token_rows_each_);
}

// The states pass the transform into the memory of attention. Then each thread weighs terms of its
// own, for which it needs the states of all threads.
void Forward::weigh_terms() {
  const TermHead& head = weights_.term_head;
  const Rows &hidden = space_.hidden_.rows, &states = space_.context_.rows;
  quantize(head.transform, hidden, mine_);
  step();
  multiply(head.transform, hidden, {states.x, states.stride, nullptr, head.activation}, mine_);
  step();
  normalize(head.norm, weights_.sizes.hidden, states, mine_);
  quantize(head.decoder, states, mine_);
  team_.wait();
  const int64_t rank = rank_;
  const TermTexts texts{pack_.offsets, pack_.texts, pack_.output.term_weights,
                        weights_.sizes.vocabulary};
  m3e::weigh_terms(head, kernels_, {states.x, states.stride, states.codes}, weights_.bfloat16,
                   texts, share(head.decoder.panels()),
                   {space_.token_rows_.data() + rank * space_.token_rows_each_,
                    space_.halves_.data() + rank * space_.halves_each_});
}

// This thread's part of `count` items, in multiples of `step`.
Range Forward::share(int count, int step) const {
  const int64_t steps = (count + step - 1) / step, members = team_.size();
  const auto bound = [&](int64_t member) {
    return std::min(count, static_cast<int>(steps * member / members) * step);
  };
  return {bound(rank_), bound(rank_ + 1)};
}

void Forward::embed() {
  const Rows& rows = weights_.projected ? space_.embedded_.rows : space_.hidden_.rows;
  const int width = weights_.sizes.embedding;
  kernels_.embed(weights_.embeddings, pack_.ids, space_.positions_.data(), width, rows.x,
                 rows.stride, mine_);
  if (pack_.types && weights_.token_types) add_token_types(rows);
  if (weights_.embedding_norm.gamma) normalize(weights_.embedding_norm, width, rows, mine_);
  if (weights_.projected) project(rows);
}

// The other tokens have type 0, whose embedding is part of the positions.
void Forward::add_token_types(const Rows& embedded) {
  const int width = weights_.sizes.embedding;
  for (int row = mine_.begin; row < mine_.end; ++row) {
    const int64_t type = pack_.types[row];
    if (type == 0) continue;
    const float* from = weights_.token_types + (type - 1) * width;
    float* to = embedded.row(row);
    for (int column = 0; column < width; ++column) to[column] += from[column];
  }
}

void Forward::project(const Rows& embedded) {
  const Rows& hidden = space_.hidden_.rows;
  quantize(weights_.embedding_projection, embedded, mine_);
  step();
  multiply(weights_.embedding_projection, embedded,
           {hidden.x, hidden.stride, nullptr, Activation::none}, mine_);
  step();
}

// Word embeddings only: all tokens get the same position, whose embedding is zero.
void Forward::embed_words() {
  EmbeddingTable words = weights_.embeddings;
  words.positions = space_.no_position_.data();
  const Rows& hidden = space_.hidden_.rows;
  kernels_.embed(words, pack_.ids, space_.no_positions_.data(), weights_.sizes.hidden, hidden.x,
                 hidden.stride, mine_);
}

// The caller's function may run anything on this thread.
void Forward::look_whether_stopped() {
  if (!stop_ || !stop_->due()) return;
  kernels_.release_thread();
  stop_->ask();
  kernels_.prepare_thread();
}

bool Forward::layer(const Layer& layer) {
  look_whether_stopped();
  for_blocks([&](Range rows) { project_attention(layer, rows); });
  team_.wait();
  // All threads read the same value: stop_->ask() is not called again before the next wait.
  if (stop_ && stop_->stopped()) return false;
  attend(layer);
  team_.wait();  // also: the next layer may now write over queries, keys and values
  for_blocks([&](Range rows) { after_attention(layer, rows); });
  return true;
}

// Calls body(rows) with this thread's rows. Those of a long text come in blocks that stay in cache
// from one operation to the next.
template <class Body>
void Forward::for_blocks(Body body) {
  if (!by_rows_) return body(mine_);
  const int most = mine_.size() <= kRowsAtOnce ? kRowsAtOnce : kWideRows;
  for (int row = mine_.begin; row < mine_.end; row += most) {
    body(Range{row, std::min(row + most, mine_.end)});
  }
}

// Queries, keys and values of some rows.
void Forward::project_attention(const Layer& layer, Range rows) {
  const Rows &hidden = space_.hidden_.rows, &qkv = space_.qkv_.rows;
  const Rows in = weights_.norm_first
                      ? normalized(layer.attention_norm, hidden, space_.context_.rows, rows)
                      : hidden;
  quantize(layer.qkv, in, rows);
  step();
  multiply(layer.qkv, in, {qkv.x, qkv.stride, nullptr, Activation::none}, rows);
  prepare(layer, rows);
}

void Forward::after_attention(const Layer& layer, Range rows) {
  quantize(layer.attention_output, space_.context_.rows, rows);
  step();
  if (layer.second_norm.gamma) {
    finish_attention_twice(layer, rows);
  } else {
    finish_attention(layer, rows);
  }
  if (!by_rows_) return feed_forward(layer, 0, pack_.rows());
  for (int row = rows.begin; row < rows.end; row += kWideRows) {
    feed_forward(layer, row, std::min(kWideRows, rows.end - row));
  }
}

void Forward::finish_attention(const Layer& layer, Range rows) {
  const Rows &hidden = space_.hidden_.rows, &context = space_.context_.rows;
  multiply(layer.attention_output, context, {hidden.x, hidden.stride, hidden.x, Activation::none},
           rows);
  step();
  if (!weights_.norm_first) {
    normalize(layer.attention_norm, weights_.sizes.hidden, hidden, rows);
  }
}

// The layer's input is needed once more, so the sum is made where the queries were.
void Forward::finish_attention_twice(const Layer& layer, Range rows) {
  const Rows &hidden = space_.hidden_.rows, &sums = space_.qkv_.rows;
  const int width = weights_.sizes.hidden;
  multiply(layer.attention_output, space_.context_.rows,
           {sums.x, sums.stride, nullptr, Activation::none}, rows);
  step();
  add_rows(hidden, sums, width, rows);
  normalize(layer.attention_norm, width, sums, rows);
  add_rows(sums, hidden, width, rows);
  normalize(layer.second_norm, width, hidden, rows);
}

// What a part reads if its normalization precedes it: `hidden` itself if there is none.
Rows Forward::normalized(const NormWeights& norm, const Rows& hidden, const Rows& to, Range range) {
  if (!norm.gamma) return hidden;
  normalize(norm, weights_.sizes.hidden, hidden, to.x, range);
  return to;
}

// Normalizes and rotates queries and keys. Threads with rows of their own rotate these; the others
// rotate a head before its attention.
void Forward::prepare(const Layer& layer, Range rows) {
  const Sizes& sizes = weights_.sizes;
  const Rows queries = space_.qkv_.rows;
  Rows keys = queries;
  keys.x += sizes.hidden;
  if (layer.query_norm.gamma) {
    step();
    normalize(layer.query_norm, sizes.hidden, queries, rows);
    normalize(layer.key_norm, sizes.hidden, keys, rows);
  }
  if (!by_rows_ || !layer.rotary) return;
  for (int text = 0; text < pack_.texts; ++text) {
    rotate(layer, text, pack_.within(text, rows), 0, 2 * sizes.heads, sizes.head_size());
  }
}

// Rotates `heads` heads of queries and keys, from `column` on, for some rows of a text.
void Forward::rotate(const Layer& layer, int text, Range rows, int column, int heads, int between) {
  const Rows qkv = space_.qkv_.rows.from(pack_.begin(text));
  kernels_.rotate({layer.rotary, weights_.rotary_size, heads, between}, qkv.x + column, qkv.stride,
                  rows);
}

// Adds the current states, those of layer `state`, to the weighted sum, for this thread's rows. No
// other thread writes these rows between the last wait and the next.
void Forward::mix(size_t state) {
  if (!weights_.state_weights) return;
  const float weight = weights_.state_weights[state];
  for (int row = mine_.begin; row < mine_.end; ++row) {
    const float* from = space_.hidden_.rows.row(row);
    float* to = space_.mixed_.rows.row(row);
    for (int column = 0; column < weights_.sizes.hidden; ++column) {
      to[column] = (state ? to[column] : 0.0f) + weight * from[column];
    }
  }
}

void Forward::attend(const Layer& layer) {
  const Sizes& sizes = weights_.sizes;
  if (by_rows_) {
    for (int text = 0; text < pack_.texts; ++text) {
      const Range queries = pack_.within(text, mine_);
      if (queries.size() == 0) continue;
      for (int head = 0; head < sizes.heads; ++head) attend(layer, text, head, queries);
    }
    return;
  }
  const Range items = share(pack_.texts * sizes.heads);
  for (int item = items.begin; item < items.end; ++item) {
    const int text = item / sizes.heads, head = item % sizes.heads;
    const Range all{0, pack_.length(text)};
    if (layer.rotary) rotate(layer, text, all, head * sizes.head_size(), 2, sizes.hidden);
    attend(layer, text, head, all);
  }
}

void Forward::attend(const Layer& layer, int text, int head, Range queries) {
  const Sizes& sizes = weights_.sizes;
  const Rows qkv = space_.qkv_.rows.from(pack_.begin(text));
  const Rows context = space_.context_.rows.from(pack_.begin(text));
  AttentionJob job;
  job.qkv = qkv.x;
  job.stride = qkv.stride;
  job.hidden = sizes.hidden;
  job.head = head * sizes.head_size();
  job.head_size = sizes.head_size();
  job.length = pack_.attended(text);
  job.out = context.x;
  job.out_stride = context.stride;
  job.bias = weights_.bias_of(head);
  job.span = layer.span;
  job.scratch = space_.attention_.data() + rank_ * space_.attention_each_;
  const auto attention = layer.qkv.is_int8() ? kernels_.attention_rounded : kernels_.attention;
  // The scratch memory has room for as many queries as keys. All other texts take one turn.
  for (int begin = queries.begin; begin < queries.end; begin += job.length) {
    job.queries = {begin, std::min(begin + job.length, queries.end)};
    attention(job);
  }
}

// The feed-forward layers, for `count` rows from `begin`. Threads with their own rows also have
// their own wide rows.
void Forward::feed_forward(const Layer& layer, int begin, int count) {
  const Rows hidden = space_.hidden_.rows.from(begin);
  const Rows wide = space_.wide_.rows.from(by_rows_ ? rank_ * space_.wide_each_ : 0);
  const Range all{0, count};
  const Rows in = weights_.norm_first ? normalized(layer.output_norm, hidden,
                                                   space_.context_.rows.from(begin), own(count))
                                      : hidden;
  quantize(layer.intermediate, in, own(count));
  step();
  const bool gated = weights_.sizes.gated;
  if (gated && !layer.intermediate.is_int8()) {
    multiply_gated(layer.intermediate, in, wide, all);
  } else {
    multiply(layer.intermediate, in, {wide.x, wide.stride, nullptr, weights_.activation, gated},
             all);
  }
  step();
  quantize(layer.output, wide, own(count));
  step();
  multiply(layer.output, wide, {hidden.x, hidden.stride, hidden.x, Activation::none}, all);
  step();
  if (!weights_.norm_first) {
    normalize(layer.output_norm, weights_.sizes.hidden, hidden, own(count));
  }
}

void Forward::quantize(const Matrix& matrix, const Rows& rows, Range range) {
  if (!matrix.is_int8()) return;
  kernels_.quantize(rows.x, rows.stride, matrix.int8.inputs, matrix.int8.smoothing, rows.codes,
                    range);
}

Range Forward::share_of(const Matrix& matrix, int least) const {
  if (by_rows_) return {0, matrix.panels()};
  return share(matrix.panels(),
               matrix.panels() >= kPanelsTogether * team_.size() ? kPanelsTogether : least);
}

void Forward::multiply(const Matrix& matrix, const Rows& from, const Epilogue& to, Range range) {
  multiply_here(matrix, from, to, by_rows_ ? range : Range{0, pack_.rows()},
                share_of(matrix, to.gated ? 2 : 1));
}

// The gated product with a float matrix. It is computed in pieces that stay in the cache until each
// two panels are one of `to`.
void Forward::multiply_gated(const Matrix& matrix, const Rows& from, const Rows& to, Range range) {
  const Rows piece = space_.gated_.rows.from(rank_ * space_.gated_each_);
  const Range rows = by_rows_ ? range : Range{0, pack_.rows()}, mine = share_of(matrix, 2);
  for (int panel = mine.begin; panel < mine.end; panel += kGatedPanels) {
    const int panels = std::min(kGatedPanels, mine.end - panel);
    const Matrix some = matrix.from(panel);
    for (int row = rows.begin; row < rows.end; row += kWideRows) {
      const Range all{0, std::min(kWideRows, rows.end - row)};
      multiply_here(some, from.from(row), {piece.x, piece.stride, nullptr, Activation::none}, all,
                    {0, panels});
      kernels_.gate(weights_.activation, piece.x, piece.stride,
                    to.row(row) + panel / 2 * kPanelColumns, to.stride, panels / 2, all);
    }
  }
}

// The product with some panels of a matrix, by this thread alone.
void Forward::multiply_here(const Matrix& matrix, const Rows& from, const Epilogue& to, Range range,
                            Range panels) {
  if (matrix.is_int8()) {
    kernels_.gemm_int8(from.codes, matrix.int8, to, range, panels);
  } else {
    const bool rounded = weights_.bfloat16 && matrix.floats.half_panels;
    (rounded ? kernels_.gemm_bfloat16 : kernels_.gemm_float)(
        from.x, from.stride, matrix.floats, to, range, panels,
        space_.halves_.data() + static_cast<int64_t>(rank_) * space_.halves_each_);
  }
}

void Forward::normalize(const NormWeights& norm, int width, const Rows& rows, Range range) {
  normalize(norm, width, rows, rows.x, range);
}

void Forward::normalize(const NormWeights& norm, int width, const Rows& rows, float* to,
                        Range range) {
  (weights_.norm_kind == NormKind::rms ? kernels_.rms_norm : kernels_.layer_norm)(
      norm, width, rows.x, to, rows.stride, range);
}

void Forward::pool() {
  const Range texts = share(pack_.texts);
  if (texts.size() <= 0) return;
  if (weights_.simple_pooling()) return pool_simply(texts);
  for (int text = texts.begin; text < texts.end; ++text) pool_parts(text);
  const Rows last = apply_head(texts);
  const int dimension = weights_.sizes.dimension;
  for (int text = texts.begin; text < texts.end; ++text) {
    float* vector = pack_.output.vectors + static_cast<int64_t>(text) * dimension;
    const float* from = last.row(text);
    std::copy(from, from + dimension, vector);
    if (weights_.normalize) scale_to_unit_length(vector, dimension);
  }
}

// The poolings that the kernels implement.
void Forward::pool_simply(Range texts) {
  const bool first = weights_.pooling.parts.front() == Reduction::first;
  const int hidden = weights_.sizes.hidden;
  for (int text = texts.begin; text < texts.end; ++text) {
    const Range pooled = pack_.pooled(text);
    float* vector = pack_.output.vectors + static_cast<int64_t>(text) * hidden;
    if (pooled.size() == 0 && !first) {
      std::fill(vector, vector + hidden, 0.0f);
      continue;
    }
    const Rows rows =
        space_.hidden_.rows.from(pack_.begin(text) + (pooled.size() ? pooled.begin : 0));
    kernels_.pool(rows.x, rows.stride, hidden, pooled.size(), first, weights_.normalize, vector);
  }
}

// Mean of the current states, for the texts that this thread pools at the end.
void Forward::pool_early() {
  team_.wait();
  const Range texts = share(pack_.texts);
  for (int text = texts.begin; text < texts.end; ++text) {
    const Rows rows = space_.hidden_.rows.from(pack_.begin(text));
    reduce(Reduction::mean, rows.x, rows.stride, weights_.sizes.hidden, pack_.pooled(text),
           space_.early_.rows.row(text));
  }
}

void Forward::pool_parts(int text) {
  const int hidden = weights_.sizes.hidden;
  const Rows rows = pooled_states().from(pack_.begin(text));
  float* out = space_.pooled_.rows.row(text);
  for (const Reduction part : weights_.pooling.parts) {
    reduce(part, rows.x, rows.stride, hidden, pack_.pooled(text), out);
    out += hidden;
  }
  if (weights_.pooling.early == Early::none) return;
  const float* early = space_.early_.rows.row(text);
  out = space_.pooled_.rows.row(text);
  for (int column = 0; column < hidden; ++column) out[column] = (early[column] + out[column]) / 2;
}

// Applies the layers after the pooling, alternating between two buffers; returns the buffer that
// holds the result.
Rows Forward::apply_head(Range texts) {
  Rows from = space_.pooled_.rows, to = space_.dense_.rows;
  for (const HeadLayer& layer : weights_.head) {
    if (layer.kind == HeadLayer::Kind::layer_norm) {
      kernels_.layer_norm(layer.norm, layer.width, from.x, from.x, from.stride, texts);
    } else if (layer.kind == HeadLayer::Kind::unit_length) {
      for (int text = texts.begin; text < texts.end; ++text) {
        scale_to_unit_length(from.row(text), layer.width);
      }
    } else {
      kernels_.gemm_float(from.x, from.stride, layer.matrix.floats,
                          {to.x, to.stride, nullptr, Activation::none}, texts,
                          {0, layer.matrix.panels()}, nullptr);
      for (int text = texts.begin; text < texts.end; ++text) {
        apply(layer.activation, to.row(text), layer.width);
      }
      std::swap(from, to);
    }
  }
  return from;
}

}  // namespace m3e
