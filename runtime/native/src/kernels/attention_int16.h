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
#pragma once

#include "attention.h"
#include "attention_codes.h"

namespace m3e {
namespace {

constexpr int kRowsTogether = 12;

// The parts of a job's scratch memory; see attention_scratch.cpp.
struct Int16Space {
  explicit Int16Space(const AttentionJob& job)
      : pairs(pairs_of(job.head_size)),
        query_scales(job.scratch),
        tops(query_scales + round_up(job.queries.size(), 16)),
        totals(tops + round_up(job.queries.size(), 16)),
        value_scales(totals + static_cast<int64_t>(job.queries.size()) * 16),
        queries(reinterpret_cast<int16_t*>(value_scales + round_up(job.head_size, 16))),
        keys(queries + static_cast<int64_t>(job.queries.size()) * pairs * 2),
        values(keys + kKeysTogether * pairs * 2) {}
  const int pairs;
  // Of each row: the scale of its codes, the largest score so far, and the sum of the shares so
  // far, in 16 lanes.
  float* const query_scales;
  float* const tops;
  float* const totals;
  float* const value_scales;
  int16_t* const queries;  // [rows][pairs][2]
  int16_t* const keys;     // of a block: [4][pairs][16][2]
  int16_t* const values;   // of a block: [head_size / 16][32][16][2]
};

// A block of keys, and what all its rows have in common.
struct KeyBlock {
  Range keys;
  float key_scale;
  bool first, last;  // of all rows; false with a window
  int panels() const { return (keys.size() + 15) / 16; }
  int value_pairs() const {
    const int rest = keys.size() % 32;
    return (keys.size() - rest) / 2 + (rest < 16 ? rest : 16);
  }
};

// What a few rows have of one block.
struct RowGroup {
  alignas(64) float scores[kRowsTogether][kKeysTogether];
  alignas(64) int16_t shares[kRowsTogether][kKeysTogether];
  float tops[16], lowest[16], factors[16];
  float kept[16], added[16];  // what earlier blocks, and this one, are multiplied by
};

// Calls body(panels, first) over `count` panels, in groups of kMost panels as long as there are so
// many.
template <int kMost, class Body>
inline void for_panel_groups(int count, int first, Body body) {
  for (; first + kMost <= count; first += kMost) body(Index<kMost>{}, first);
  if constexpr (kMost > 1) for_panel_groups<kMost / 2>(count, first, body);
}

template <int kRows, int kPanels>
M3E_INLINE inline void accumulate_pairs(const int16_t* x, int64_t stride, const int16_t* panels,
                                        int64_t panel_stride, int pairs,
                                        Ints (&sums)[kRows][kPanels]) {
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = no_pairs(); });
  });
  for (int pair = 0; pair < pairs; ++pair) {
    Ints column[kPanels];
    unroll<kPanels>(
        [&](auto p) M3E_INLINE { column[p] = load_pairs(panels + p * panel_stride + pair * 32); });
    unroll<kRows>([&](auto r) M3E_INLINE {
      const Ints value = splat_pair(x + r * stride + 2 * pair);
      unroll<kPanels>([&](auto p) M3E_INLINE {
        sums[r][p] = dot_pairs(sums[r][p], value, column[p]);
        settle(sums[r][p]);
      });
    });
  }
}

template <int kRows, int kPanels>
[[gnu::noinline]] void score_pairs(const int16_t* queries, const int16_t* keys, int pairs,
                                   float (*scores)[kKeysTogether]) {
  Ints sums[kRows][kPanels];
  accumulate_pairs(queries, 2 * pairs, keys, pairs * 32, pairs, sums);
  unroll<kRows>([&](auto r) M3E_INLINE {
    unroll<kPanels>([&](auto p) M3E_INLINE { store(scores[r] + p * 16, to_float(sums[r][p])); });
  });
}

// out[r] = kept[r] · out[r] + added[r] · Σⱼ shares[r][j] · value j. The first block's does not read
// `out`.
template <int kRows, int kPanels>
[[gnu::noinline]] void mix_pairs(const RowGroup& group, int row, const int16_t* values, int pairs,
                                 const float* scales, float* out, int out_stride, int columns,
                                 bool first) {
  Ints sums[kRows][kPanels];
  accumulate_pairs(group.shares[row], kKeysTogether, values, kKeysTogether * 16, pairs, sums);
  unroll<kPanels>([&](auto p) M3E_INLINE {
    const Floats scale = load(scales + p * 16);
    const int lanes = columns - p * 16 < 16 ? columns - p * 16 : 16;
    unroll<kRows>([&](auto r) M3E_INLINE {
      float* to = out + static_cast<int64_t>(r) * out_stride + p * 16;
      const Floats mixed = mul(to_float(sums[r][p]), scale), added = splat(group.added[row + r]);
      store_some(to,
                 first ? mul(mixed, added)
                       : fma(mixed, added, mul(load_some(to, lanes), splat(group.kept[row + r]))),
                 lanes);
    });
  });
}

// The largest score of each row, times its factor, is compared with the largest so far.
inline void weigh(const AttentionJob& job, const Int16Space& space, const KeyBlock& block, int row,
                  int count, RowGroup& group) {
  constexpr float kLog2E = 1.44269502f;
  const Floats factors =
      job.bias ? splat(1) : mul(load_some(space.query_scales + row, count), splat(block.key_scale));
  const Floats top = mul(load(group.tops), factors);
  const Floats before = block.first ? top : load_some(space.tops + row, count);
  const Floats now = larger(before, top);
  store_some(space.tops + row, now, count);
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

inline void attend_rows(const AttentionJob& job, const Int16Space& space, const KeyBlock& block,
                        int row, int count) {
  RowGroup group;
  for_row_tiles({0, count}, kPairTileRows, [&](int first, int rows) {
    const int16_t* queries = space.queries + static_cast<int64_t>(row + first) * space.pairs * 2;
    Constant<kPairTileRows>::call(rows, [&](auto tall) {
      for_panel_groups<kPairTilePanels>(block.panels(), 0, [&](auto panels, int panel) {
        score_pairs<tall.value, panels.value>(
            queries, space.keys + static_cast<int64_t>(panel) * space.pairs * 32, space.pairs,
            reinterpret_cast<float (*)[kKeysTogether]>(group.scores[first] + panel * 16));
      });
    });
  });
  for (int r = 0; r < count; ++r) {
    if (job.bias) {
      add_bias(job.bias - (row + job.queries.begin + r) + block.keys.begin, block.keys.size(),
               space.query_scales[row + r] * block.key_scale, group.scores[r]);
    }
    if (!job.span.is_full()) {
      hide_unseen(job, block, job.queries.begin + row + r, group.scores[r]);
    }
    group.tops[r] = top_of(job, block, group.scores[r]);
  }
  weigh(job, space, block, row, count, group);
  for (int r = 0; r < count; ++r) {
    float* totals = space.totals + static_cast<int64_t>(row + r) * 16;
    const Floats sums = to_float(pack_shares(group.scores[r], block.keys.size(), group.tops[r],
                                             group.lowest[r], group.factors[r], group.shares[r]));
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
  float* out = job.out + static_cast<int64_t>(job.queries.begin + row) * job.out_stride + job.head;
  for_row_tiles({0, count}, kPairTileRows, [&](int first, int rows) {
    Constant<kPairTileRows>::call(rows, [&](auto tall) {
      for_panel_groups<kPairTilePanels>((job.head_size + 15) / 16, 0, [&](auto panels, int panel) {
        mix_pairs<tall.value, panels.value>(
            group, first, space.values + panel * kKeysTogether * 16, block.value_pairs(),
            space.value_scales + panel * 16,
            out + static_cast<int64_t>(first) * job.out_stride + panel * 16, job.out_stride,
            job.head_size - panel * 16, block.first);
      });
    });
  });
}

inline void pack_queries(const AttentionJob& job, const Int16Space& space) {
  const float per_score = 1.0f / __builtin_sqrtf(static_cast<float>(job.head_size));
  for (int row = 0; row < job.queries.size(); ++row) {
    const float* query =
        job.qkv + static_cast<int64_t>(job.queries.begin + row) * job.stride + job.head;
    int16_t* codes = space.queries + static_cast<int64_t>(row) * space.pairs * 2;
    space.query_scales[row] = per_score * pack_query(query, job.head_size, codes);
  }
}

// With a window, rows begin at different blocks: a state to which any block can be added.
inline void begin_rows(const AttentionJob& job, const Int16Space& space) {
  clear_results(job);
  for (int row = 0; row < job.queries.size(); ++row) {
    space.tops[row] = kLowest;
    store(space.totals + static_cast<int64_t>(row) * 16, zero());
  }
}

inline void end_rows(const AttentionJob& job, const Int16Space& space) {
  for_results(job, [&](int row, float* out, int lanes) {
    const float total = sum(load(space.totals + static_cast<int64_t>(row) * 16));
    store_some(out, mul(load_some(out, lanes), splat(1.0f / total)), lanes);
  });
}

// At most kQueriesTogether rows.
inline void attend_together(const AttentionJob& job) {
  const Int16Space space(job);
  const bool windowed = !job.span.is_full();
  pack_queries(job, space);
  if (windowed) begin_rows(job, space);
  for_blocks({0, job.length}, kKeysTogether, [&](Range keys) {
    const Range seeing = queries_that_see(job, keys);
    if (seeing.size() <= 0) return;
    const KeyBlock block{keys, pack_keys(job, keys, space.keys), !windowed && keys.begin == 0,
                         !windowed && keys.end == job.length};
    pack_values(job, keys, space.values, space.value_scales);
    const Range rows{seeing.begin - job.queries.begin, seeing.end - job.queries.begin};
    for_row_tiles(rows, kRowsTogether,
                  [&](int row, int count) { attend_rows(job, space, block, row, count); });
  });
  if (windowed) end_rows(job, space);
}

void attention_int16(const AttentionJob& job) {
  for_blocks(job.queries, kQueriesTogether, [&](Range queries) {
    AttentionJob some = job;
    some.queries = queries;
    attend_together(some);
  });
}

}  // namespace
}  // namespace m3e
