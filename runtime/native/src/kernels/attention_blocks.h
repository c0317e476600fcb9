// SPDX-License-Identifier: Apache-2.0
// Attention on floats for long texts and for windows: keys and values pass in blocks, and each
// block meets all queries that see it. Its shares are relative to the largest score that a query
// has met so far; when a larger one comes, what the earlier blocks have given is scaled down
// (https://arxiv.org/abs/1805.02867).
//
// Blocks and vectors of keys begin at fixed places of the text, and keys that a query does not see
// add exact zeros. A query's result therefore does not depend on the queries beside it.
#pragma once

#include "attention_parts.h"

namespace m3e {
namespace {

constexpr int kKeysOfBlock = 256;

// The parts of a job's scratch memory; see attention_scratch.cpp.
struct BlockSpace {
  explicit BlockSpace(const AttentionJob& job)
      : keys(job.scratch),
        values(keys + static_cast<int64_t>(kKeysOfBlock) * job.head_size),
        scores(values + static_cast<int64_t>(kKeysOfBlock) * round_up(job.head_size, 16)),
        tops(scores + static_cast<int64_t>(16) * kKeysOfBlock),
        totals(tops + kQueriesTogether) {}
  float* const keys;    // [keys / 16][head_size][16]
  float* const values;  // [head_size / 16][keys][16]
  float* const scores;  // [16][kKeysOfBlock]
  float* const tops;    // of each query: its largest score so far
  float* const totals;  // of each query: the sum of its shares so far
};

inline Floats without_first(Floats x, int lanes) { return sub(x, keep_first(x, lanes)); }

// scores → e^(factor · (score − top)) of the keys `seen`, zero for the others up to `columns`.
// Returns the sum.
inline float exponentiate(float* scores, int columns, Range seen, float factor, float top) {
  const Floats scale = splat(factor), largest = splat(top);
  Floats total = zero();
  for (int c = 0; c < columns; c += 16) {
    Floats e = zero();
    if (c < seen.end && c + 16 > seen.begin) {
      e = exp_negative(mul(sub(load(scores + c), largest), scale));
      if (seen.end - c < 16) e = keep_first(e, seen.end - c);
      if (seen.begin > c) e = without_first(e, seen.begin - c);
      total = add(total, e);
    }
    store(scores + c, e);
  }
  return sum(total);
}

// out[r] = kept[r] · out[r] + Σⱼ shares[r][j] · value j, for a few panels of columns; the last has
// `lanes` columns. Not inlined: see score_panels.
template <int kRows, int kPanels>
[[gnu::noinline]] void add_panels(const float* values, int64_t panel_stride, const float* shares,
                                  int stride, int keys, const float* kept, float* out,
                                  int out_stride, int lanes) {
  Floats sums[kRows][kPanels];
  unroll<kRows>(
      [&](auto r) M3E_INLINE { unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); }); });
  accumulate(shares, stride, values, panel_stride, keys, NothingAhead{}, sums);
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE {
      float* to = out + static_cast<int64_t>(r) * out_stride + p * 16;
      const int count = p == kPanels - 1 ? lanes : 16;
      store_some(to, fma(load_some(to, count), splat(kept[r]), sums[r][p]), count);
    });
  });
}

// A few queries and the keys of a block that any of them sees.
class BlockTile {
 public:
  BlockTile(const AttentionJob& job, const BlockSpace& space, Range block, int row, int count)
      : job_(job),
        space_(space),
        block_(block),
        row_(row),
        count_(count),
        state_(row - job.queries.begin),
        seen_{seen_by(job, block, row).begin, seen_by(job, block, row + count - 1).end},
        begin_(seen_.begin / 16 * 16),
        columns_(round_up(seen_.end - begin_, 16)),
        factor_(1.0f / __builtin_sqrtf(static_cast<float>(job.head_size))) {}

  template <int kRows>
  void attend() {
    const float* queries = job_.qkv + static_cast<int64_t>(row_) * job_.stride + job_.head;
    score_rows<kRows>(queries, job_,
                      space_.keys + static_cast<int64_t>(begin_ - block_.begin) * job_.head_size,
                      space_.scores, columns_);
    share_out();
    float* out = job_.out + static_cast<int64_t>(row_) * job_.out_stride + job_.head;
    const float* values = space_.values + static_cast<int64_t>(seen_.begin - block_.begin) * 16;
    const float* shares = space_.scores + seen_.begin - begin_;
    for_panels<kFloatTilePanels>(job_.head_size, [&](auto panels, int column, int lanes) {
      add_panels<kRows, panels.value>(values + static_cast<int64_t>(column) * block_.size(),
                                      static_cast<int64_t>(block_.size()) * 16, shares, columns_,
                                      seen_.size(), kept_, out + column, job_.out_stride, lanes);
    });
  }

 private:
  Range seen(int r) const {  // by query r, relative to the first score
    const Range keys = seen_by(job_, block_, row_ + r);
    return {keys.begin - begin_, keys.end - begin_};
  }

  // Replaces scores by shares, and updates the state of the queries.
  void share_out() {
    const float factor = job_.bias ? 1 : factor_;
    float tops[16] = {};
    for (int r = 0; r < count_; ++r) {
      float* scores = space_.scores + r * columns_;
      if (job_.bias) {
        add_bias(job_.bias - (row_ + r) + begin_, seen_.end - begin_, factor_, scores);
      }
      tops[r] = highest(scores + seen(r).begin, seen(r).size());
    }
    const Floats before = load_some(space_.tops + state_, count_), now = larger(before, load(tops));
    store_some(space_.tops + state_, now, count_);
    store(kept_, exp_negative(mul(sub(before, now), splat(factor))));
    store(tops, now);
    for (int r = 0; r < count_; ++r) {
      float& total = space_.totals[state_ + r];
      total = total * kept_[r] +
              exponentiate(space_.scores + r * columns_, columns_, seen(r), factor, tops[r]);
    }
  }

  const AttentionJob& job_;
  const BlockSpace& space_;
  const Range block_;
  const int row_, count_, state_;
  const Range seen_;   // by any of the queries
  const int begin_;    // of the scores: the start of the vector that holds the first key
  const int columns_;  // of the scores
  const float factor_;
  float kept_[16];  // what the results of earlier blocks are multiplied by
};

template <class Body>
inline void for_results(const AttentionJob& job, Body body) {
  for (int row = job.queries.begin; row < job.queries.end; ++row) {
    float* out = job.out + static_cast<int64_t>(row) * job.out_stride + job.head;
    for_columns(job.head_size,
                [&](int column, int lanes) { body(row - job.queries.begin, out + column, lanes); });
  }
}

inline void clear_results(const AttentionJob& job) {
  for_results(job, [](int, float* out, int lanes) { store_some(out, zero(), lanes); });
}

// At most kQueriesTogether queries.
inline void queries_in_blocks(const AttentionJob& job) {
  const BlockSpace space(job);
  clear_results(job);
  for (int i = 0; i < job.queries.size(); ++i) {
    space.tops[i] = kLowest;
    space.totals[i] = 0;
  }
  for_blocks({0, job.length}, kKeysOfBlock, [&](Range block) {
    const Range rows = queries_that_see(job, block);
    if (rows.size() <= 0) return;
    pack_keys(job, block, space.keys);
    pack_values(job, block, space.values);
    for_row_tiles(rows, kFloatTileRows, [&](int row, int count) {
      BlockTile tile(job, space, block, row, count);
      Constant<kFloatTileRows>::call(count, [&](auto tall) { tile.template attend<tall.value>(); });
    });
  });
  for_results(job, [&](int i, float* out, int lanes) {
    store_some(out, mul(load_some(out, lanes), splat(1.0f / space.totals[i])), lanes);
  });
}

inline void attention_in_blocks(const AttentionJob& job) {
  for_blocks(job.queries, kQueriesTogether, [&](Range queries) {
    AttentionJob some = job;
    some.queries = queries;
    queries_in_blocks(some);
  });
}

}  // namespace
}  // namespace m3e
