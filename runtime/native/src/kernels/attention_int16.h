// SPDX-License-Identifier: Apache-2.0
// Attention on 16-bit codes (attention_rounded.h) whose products add pairs of codes, as vpdpwssd
// does.
#pragma once

#include "attention_rounded.h"

namespace m3e {
namespace {

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

// Adds Σⱼ shares[r][j] · value j to the results of some rows; see mix_row.
template <int kRows, int kPanels, class Group>
[[gnu::noinline]] void mix_pairs(const Group& group, int row, const int16_t* values, int pairs,
                                 const float* scales, float* out, int out_stride, int columns,
                                 bool first) {
  Ints sums[kRows][kPanels];
  accumulate_pairs(group.shares[row], kKeysTogether, values, kKeysTogether * 16, pairs, sums);
  unroll<kPanels>([&](auto p) M3E_INLINE {
    const Floats scale = load(scales + p * 16);
    const int lanes = columns - p * 16 < 16 ? columns - p * 16 : 16;
    unroll<kRows>([&](auto r) M3E_INLINE {
      mix_row(sums[r][p], scale, group.kept[row + r], group.added[row + r],
              out + static_cast<int64_t>(r) * out_stride + p * 16, lanes, first);
    });
  });
}

class PairProducts {
 public:
  static constexpr int kRowsTogether = 12;
  using Shares = int16_t[kKeysTogether];

  PairProducts(const AttentionJob& job, float* memory)
      : job_(job),
        pairs_(pairs_of(job.head_size)),
        queries_(reinterpret_cast<int16_t*>(memory)),
        keys_(queries_ + static_cast<int64_t>(job.queries.size()) * pairs_ * 2),
        values_(keys_ + kKeysTogether * pairs_ * 2) {}

  float pack_query(int row, const float* query) const {
    const float span = span_of_query(query, job_.head_size), steps = score_steps(job_.head_size);
    for (int column = 0; column < job_.head_size; column += 32) {
      store_pairs(query_codes(row) + column,
                  code_pairs(query + column, job_.head_size - column, splat(steps / span)));
    }
    return span / steps;
  }

  float pack_keys(Range block) const {
    const float span = span_of_keys(job_, block), steps = score_steps(job_.head_size);
    int16_t* to = keys_;
    for (int begin = block.begin; begin < block.end; begin += 16) {
      for (int column = 0; column < job_.head_size; column += 32) {
        Ints pairs[16];
        unroll<16>([&](auto lane) M3E_INLINE {
          pairs[lane] = code_pairs(key_of_block(job_, block, begin + lane) + column,
                                   job_.head_size - column, splat(steps / span));
        });
        transpose(pairs);
        unroll<16>([&](auto pair) M3E_INLINE { store_pairs(to + pair * 32, pairs[pair]); });
        to += 16 * 32;
      }
    }
    return span / steps;
  }

  void pack_values(Range block, float* scales) const {
    int16_t* to = values_;
    for_columns(job_.head_size, [&](int column, int lanes) {
      const ValueCodes codes(job_, block, column, lanes, scales);
      for (int begin = 0; begin < block.size(); begin += 32) {
        for (int row = begin; row < begin + 16 && row < block.size(); ++row) {
          store_pairs(to + begin * 16 + (row - begin) * 32, codes.pairs(row));
        }
      }
      to += kKeysTogether * 16;
    });
  }

  // Codes up to a multiple of 32.
  static Ints pack_shares(const ScoresOfRow& row, Shares& to) {
    Ints sums = no_pairs();
    for (int at = 0; at < row.count; at += 32) store_pairs(to + at, share_pairs(row, at, sums));
    return sums;
  }

  void score(int row, int count, int panels, float (*scores)[kKeysTogether]) const {
    for_row_tiles({0, count}, kPairTileRows, [&](int first, int rows) {
      Constant<kPairTileRows>::call(rows, [&](auto tall) {
        for_panel_groups<kPairTilePanels>(panels, 0, [&](auto wide, int panel) {
          score_pairs<tall.value, wide.value>(
              query_codes(row + first), keys_ + static_cast<int64_t>(panel) * pairs_ * 32, pairs_,
              reinterpret_cast<float (*)[kKeysTogether]>(scores[first] + panel * 16));
        });
      });
    });
  }

  template <class Group>
  void mix(const Group& group, int row, int count, const KeyBlock& block,
           const float* scales) const {
    float* out =
        job_.out + static_cast<int64_t>(job_.queries.begin + row) * job_.out_stride + job_.head;
    for_row_tiles({0, count}, kPairTileRows, [&](int first, int rows) {
      Constant<kPairTileRows>::call(rows, [&](auto tall) {
        for_panel_groups<kPairTilePanels>(
            (job_.head_size + 15) / 16, 0, [&](auto panels, int panel) {
              mix_pairs<tall.value, panels.value>(
                  group, first, values_ + panel * kKeysTogether * 16, pairs_of_values(block),
                  scales + panel * 16,
                  out + static_cast<int64_t>(first) * job_.out_stride + panel * 16, job_.out_stride,
                  job_.head_size - panel * 16, block.first);
            });
      });
    });
  }

 private:
  static int pairs_of_values(const KeyBlock& block) {
    const int rest = block.keys.size() % 32;
    return (block.keys.size() - rest) / 2 + (rest < 16 ? rest : 16);
  }
  int16_t* query_codes(int row) const { return queries_ + static_cast<int64_t>(row) * pairs_ * 2; }

  const AttentionJob& job_;
  const int pairs_;
  int16_t* const queries_;  // [rows][pairs][2]
  int16_t* const keys_;     // of a block: [4][pairs][16][2]
  int16_t* const values_;   // of a block: [head_size / 16][32][16][2]
};

[[maybe_unused]] void attention_int16(const AttentionJob& job) {
  attention_rounded<PairProducts>(job);
}

}  // namespace
}  // namespace m3e
