// SPDX-License-Identifier: Apache-2.0
// Attention on 16-bit codes, two of which are multiplied in the time of one float. For encoders
// whose other products are int8, with steps of 1/255. Values have steps of 1/1023 of the largest in
// their column and block of keys. Sums are exact and fit in 32 bits.
//
// Keys and values are packed in blocks of 64, small enough for the first-level cache, and each
// block meets all rows. A share has steps of 1/32767 of the largest in its row and block: what
// rounding loses is at most 1/1000 of the row's weight, however many keys there are. The rows of
// the blocks are added as floats, each relative to the largest score that the row has met so far.
//
// With a window, a row passes the blocks of which it sees a key. A score that it does not see is so
// low that its code is zero.
//
// How codes are packed and multiplied is a class, PairProducts (attention_int16.h) or TileProducts
// (attention_tiles.h):
//
//   kRowsTogether               rows of a group, at most 16
//   Shares                      packed shares of a row
//   TheProducts(job, memory)    `memory` is what attention_scratch counts for packed codes
//   pack_query(row, query)      returns the scale of the codes
//   pack_keys(block)            the same
//   pack_values(block, scales)  writes a scale for each column
//   pack_shares(scores, to)     returns their sums in 16 lanes
//   score(row, count, panels, scores)       products of some rows and the keys of a block
//   mix(group, row, count, block, scales)   adds the products of their shares and its values
#pragma once

#include "attention.h"
#include "attention_codes.h"

namespace m3e {
namespace {

// What all products have of each row: the scale of its codes, the largest score so far, and the sum
// of the shares so far, in 16 lanes. The first part of a job's scratch memory; see
// attention_scratch.cpp.
struct RowStates {
  explicit RowStates(const AttentionJob& job)
      : query_scales(job.scratch),
        tops(query_scales + round_up(job.queries.size(), 16)),
        totals(tops + round_up(job.queries.size(), 16)),
        value_scales(totals + static_cast<int64_t>(job.queries.size()) * 16),
        codes(value_scales + round_up(job.head_size, 16)) {}
  float* const query_scales;
  float* const tops;
  float* const totals;
  float* const value_scales;
  float* const codes;  // memory for packed codes
};

// A block of keys, and what all its rows have in common.
struct KeyBlock {
  Range keys;
  float key_scale;
  bool first, last;  // of all rows; false with a window
  int panels() const { return (keys.size() + 15) / 16; }
};

// What a few rows have of one block.
template <class Products>
struct RowGroup {
  alignas(64) float scores[Products::kRowsTogether][kKeysTogether];
  alignas(64) typename Products::Shares shares[Products::kRowsTogether];
  float tops[16], lowest[16], factors[16];
  float kept[16], added[16];  // what earlier blocks, and this one, are multiplied by
};

// A vector of columns of a row's result: kept · out + added · scale · sum. The first block's does
// not read `out`.
M3E_INLINE inline void mix_row(Ints sum, Floats scale, float kept, float added, float* out,
                               int lanes, bool first) {
  const Floats mixed = mul(to_float(sum), scale);
  store_some(out,
             first ? mul(mixed, splat(added))
                   : fma(mixed, splat(added), mul(load_some(out, lanes), splat(kept))),
             lanes);
}

// The largest score of each row, times its factor, is compared with the largest so far.
template <class Products>
inline void weigh(const AttentionJob& job, const RowStates& states, const KeyBlock& block, int row,
                  int count, RowGroup<Products>& group) {
  constexpr float kLog2E = 1.44269502f;
  const Floats factors =
      job.bias ? splat(1)
               : mul(load_some(states.query_scales + row, count), splat(block.key_scale));
  const Floats top = mul(load(group.tops), factors);
  const Floats before = block.first ? top : load_some(states.tops + row, count);
  const Floats now = larger(before, top);
  store_some(states.tops + row, now, count);
  store(group.kept, exp_negative(sub(before, now)));
  store(group.added, exp_negative(sub(top, now)));
  store(group.factors, mul(factors, splat(kLog2E)));
  store(group.lowest, div(splat(-100.0f / kLog2E), factors));
}

inline float top_of(const AttentionJob& job, const KeyBlock& block, float* scores) {
  if (job.bias) return highest(scores, block.keys.size());
  Floats most = load(scores);
  for (int panel = 1; panel < block.panels(); ++panel) {
    most = larger(most, load(scores + panel * 16));
  }
  return largest(most);
}

// Lowers the scores of keys that a row does not see. The copies behind the last key count as it
// does.
inline void hide_unseen(const AttentionJob& job, const KeyBlock& block, int row, float* scores) {
  const Range seen = seen_by(job, block.keys, row);
  const int begin = seen.begin - block.keys.begin, end = seen.end - block.keys.begin;
  for (int key = 0; key < begin; ++key) scores[key] = kLowest;
  if (end == block.keys.size()) return;
  for (int key = end; key < kKeysTogether; ++key) scores[key] = kLowest;
}

template <class Products>
inline void attend_rows(const AttentionJob& job, const RowStates& states, const Products& products,
                        const KeyBlock& block, int row, int count) {
  RowGroup<Products> group;
  products.score(row, count, block.panels(), group.scores);
  for (int r = 0; r < count; ++r) {
    if (job.bias) {
      add_bias(job.bias - (row + job.queries.begin + r) + block.keys.begin, block.keys.size(),
               states.query_scales[row + r] * block.key_scale, group.scores[r]);
    }
    if (!job.span.is_full()) {
      hide_unseen(job, block, job.queries.begin + row + r, group.scores[r]);
    }
    group.tops[r] = top_of(job, block, group.scores[r]);
  }
  weigh(job, states, block, row, count, group);
  for (int r = 0; r < count; ++r) {
    float* totals = states.totals + static_cast<int64_t>(row + r) * 16;
    const ScoresOfRow scores{group.scores[r], block.keys.size(), group.tops[r], group.lowest[r],
                             group.factors[r]};
    const Floats sums = to_float(Products::pack_shares(scores, group.shares[r]));
    const Floats mixed = mul(sums, splat(group.added[r]));
    const Floats total = block.first ? mixed : fma(load(totals), splat(group.kept[r]), mixed);
    if (!block.last) {
      store(totals, total);
      continue;
    }
    const float inverse = 1.0f / sum(total);
    group.kept[r] *= inverse;
    group.added[r] *= inverse;
  }
  products.mix(group, row, count, block, states.value_scales);
}

template <class Products>
inline void pack_queries(const AttentionJob& job, const RowStates& states,
                         const Products& products) {
  const float per_score = 1.0f / __builtin_sqrtf(static_cast<float>(job.head_size));
  for (int row = 0; row < job.queries.size(); ++row) {
    const float* query =
        job.qkv + static_cast<int64_t>(job.queries.begin + row) * job.stride + job.head;
    states.query_scales[row] = per_score * products.pack_query(row, query);
  }
}

// With a window, rows begin at different blocks: a state to which any block can be added.
inline void begin_rows(const AttentionJob& job, const RowStates& states) {
  clear_results(job);
  for (int row = 0; row < job.queries.size(); ++row) {
    states.tops[row] = kLowest;
    store(states.totals + static_cast<int64_t>(row) * 16, zero());
  }
}

inline void end_rows(const AttentionJob& job, const RowStates& states) {
  for_results(job, [&](int row, float* out, int lanes) {
    const float total = sum(load(states.totals + static_cast<int64_t>(row) * 16));
    store_some(out, mul(load_some(out, lanes), splat(1.0f / total)), lanes);
  });
}

// At most kQueriesTogether rows.
template <class Products>
inline void attend_together(const AttentionJob& job) {
  const RowStates states(job);
  const Products products(job, states.codes);
  const bool windowed = !job.span.is_full();
  pack_queries(job, states, products);
  if (windowed) begin_rows(job, states);
  for_blocks({0, job.length}, kKeysTogether, [&](Range keys) {
    const Range seeing = queries_that_see(job, keys);
    if (seeing.size() <= 0) return;
    const KeyBlock block{keys, products.pack_keys(keys), !windowed && keys.begin == 0,
                         !windowed && keys.end == job.length};
    products.pack_values(keys, states.value_scales);
    const Range rows{seeing.begin - job.queries.begin, seeing.end - job.queries.begin};
    for_row_tiles(rows, Products::kRowsTogether, [&](int row, int count) {
      attend_rows(job, states, products, block, row, count);
    });
  });
  if (windowed) end_rows(job, states);
}

template <class Products>
inline void attention_rounded(const AttentionJob& job) {
  for_blocks(job.queries, kQueriesTogether, [&](Range queries) {
    AttentionJob some = job;
    some.queries = queries;
    attend_together<Products>(some);
  });
}

}  // namespace
}  // namespace m3e
