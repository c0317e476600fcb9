// SPDX-License-Identifier: Apache-2.0
// The memory of a forward pass, and where texts and rows lie in it.
#include <algorithm>

#include "forward.h"

namespace m3e {
namespace {

constexpr int kReadAhead = 32;  // rows beyond the last one that a kernel may read
constexpr int kRowsStep = 64;   // the workspace grows in steps of this many rows
// Keeps rows in different cache sets when the width is a power of two.
constexpr int kStrideGap = 16;

// Rows of the position table for the tokens of one text; see Sizes::padding.
void count_positions(const int32_t* ids, int length, int padding, int32_t* positions) {
  int32_t next = padding < 0 ? 0 : 1;
  for (int i = 0; i < length; ++i) positions[i] = ids[i] == padding ? 0 : next++;
}

}  // namespace

int Pack::longest() const {
  int most = 0;
  for (int text = 0; text < texts; ++text) most = std::max(most, length(text));
  return most;
}

Range Pack::pooled(int text) const {
  const int count = attended(text);
  return {prompts ? static_cast<int>(std::min<int64_t>(prompts[text], count)) : 0, count};
}

Range Pack::within(int text, Range rows) const {
  const int first = std::max(rows.begin - begin(text), 0);
  return {first, std::max(first, std::min(rows.end - begin(text), length(text)))};
}

Rows Rows::from(int row) const {
  const int64_t at = row;
  Rows rest{x + at * stride, stride, codes};
  if (codes.codes) {
    rest.codes = {codes.codes + at * codes.stride, codes.stride, codes.scale + at,
                  codes.minimum + at};
  }
  return rest;
}

void Workspace::Store::reserve(int count, int columns, bool quantized) {
  const int stride = round_up(columns, kPanelColumns) + kStrideGap;
  const int codes_stride = round_up(columns, kInputsAlign) + kInputsAlign;
  const size_t rows_read = static_cast<size_t>(count) + kReadAhead;
  x.reserve(static_cast<size_t>(count), static_cast<size_t>(stride));
  if (quantized) {
    codes.reserve(rows_read, static_cast<size_t>(codes_stride));
    scale.reserve(rows_read);
    minimum.reserve(rows_read);
  }
  rows = {x.data(), stride, {codes.data(), codes_stride, scale.data(), minimum.data()}};
}

void Workspace::reserve(const Weights& weights, const Pack& pack, int threads) {
  const Sizes& sizes = weights.sizes;
  // In steps, so that packs that grow by a few rows do not reallocate each time.
  const int rows = round_up(pack.rows(), kRowsStep);
  hidden_.reserve(rows, sizes.hidden, true);
  if (weights.projected) embedded_.reserve(rows, sizes.embedding, true);
  if (weights.state_weights) mixed_.reserve(rows, sizes.hidden, false);
  context_.reserve(rows, sizes.hidden, true);
  qkv_.reserve(rows, 3 * sizes.hidden, false);
  const bool one_each = threads == 1 || enough_rows(pack.rows(), threads);
  wide_each_ = one_each ? std::min(rows, kWideRows) + kReadAhead : 0;
  wide_.reserve(one_each ? threads * wide_each_ : rows, sizes.intermediate, true);
  gated_each_ = std::min(rows, kWideRows);
  if (sizes.gated) gated_.reserve(threads * gated_each_, kGatedPanels * kPanelColumns, false);
  attention_each_ = attention_scratch(pack.longest(), sizes.head_size());
  attention_.reserve(static_cast<size_t>(attention_each_), static_cast<size_t>(threads));
  halves_each_ = weights.has_halves ? kFloatScratch : 0;
  halves_.reserve(static_cast<size_t>(halves_each_), static_cast<size_t>(threads));
  token_rows_each_ = pack.output.tokens.any() ? token_scratch(weights.token_heads) : 0;
  if (pack.output.term_weights) token_rows_each_ = std::max(token_rows_each_, kTermScratch);
  token_rows_.reserve(static_cast<size_t>(token_rows_each_), static_cast<size_t>(threads));
  positions_.reserve(static_cast<size_t>(rows));
  for (int text = 0; text < pack.texts; ++text) {
    const int begin = pack.begin(text);
    if (weights.one_position) continue;  // they are zeros
    count_positions(pack.ids + begin, pack.length(text), sizes.padding, positions_.data() + begin);
  }
  if (!weights.simple_pooling()) reserve_pooled(weights, pack.texts, rows);
}

void Workspace::reserve_pooled(const Weights& weights, int texts, int rows) {
  const Sizes& sizes = weights.sizes;
  const int steps = round_up(texts, kRowsStep);
  pooled_.reserve(steps, sizes.widest, false);
  if (!weights.head.empty()) dense_.reserve(steps, sizes.widest, false);
  if (weights.pooling.early != Early::none) early_.reserve(steps, sizes.hidden, false);
  if (weights.pooling.early == Early::words) {
    no_positions_.reserve(static_cast<size_t>(rows));
    no_position_.reserve(static_cast<size_t>(sizes.hidden));
  }
}

}  // namespace m3e
