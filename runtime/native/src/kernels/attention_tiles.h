// SPDX-License-Identifier: Apache-2.0
// Attention on 16-bit codes (attention_rounded.h) with AMX, which multiplies bytes. A code is a
// signed high byte and an unsigned low byte, and the bytes of each kind are a plane:
//
//   Σ a · b = 2¹⁶ Σ high a · high b + 2⁸ Σ (high a · low b + low a · high b) + Σ low a · low b
//
// All of it is computed modulo 2³², so it equals the sum of the products of the codes, which fits.
// For 16 rows × 16 columns × 64 numbers these are four products of tiles, of 16 cycles each, where
// vpdpwssd needs 512 instructions, of which two begin in a cycle.
//
// The 64 numbers of a row of a tile are its step. Their order is the same in both factors: numbers
// i, 32 + i, 16 + i and 48 + i of a step are adjacent, since they are so in two vectors of pairs.
#pragma once

#include "amx_tiles.h"
#include "attention_int16.h"

namespace m3e {
namespace {

// The bytes of two vectors of pairs. The codes of the first have the even places.
struct BytePlanes {
  Ints high, low;
  BytePlanes(Ints first, Ints second)
      : high(_mm512_mask_blend_epi8(kOdd, _mm512_srli_epi16(first, 8), second)),
        low(_mm512_mask_blend_epi8(kOdd, first, _mm512_slli_epi16(second, 8))) {}

 private:
  static constexpr __mmask64 kOdd = 0xAAAAAAAAAAAAAAAA;
};

// 16 rows × 16 columns of products.
struct PlaneSums {
  TileSums high, middle, low;
  Ints operator()(int row) const {
    const Ints upper =
        _mm512_add_epi32(_mm512_slli_epi32(load_sums(high, row), 8), load_sums(middle, row));
    return _mm512_add_epi32(_mm512_slli_epi32(upper, 8), load_sums(low, row));
  }
};

constexpr int kRowStepBytes = 2 * kTileRowBytes;  // of a row: the high plane, then the low one
constexpr int kPanelStepBytes = 2 * kTileBytes;   // of 16 columns, likewise

// Tiles 4 and 5: the planes of 16 rows.
inline void load_rows(const uint8_t* rows, int64_t stride) {
  _tile_loadd(4, rows, stride);
  _tile_loadd(5, rows + kTileRowBytes, stride);
}

// Calls body(panel, sums) for the products of 16 rows and each of `panels` panels. Rows have
// `steps` steps and panels as many.
template <class Body>
inline void for_plane_sums(const uint8_t* rows, const uint8_t* panels, int steps, int count,
                           Body body) {
  const int64_t stride = static_cast<int64_t>(steps) * kRowStepBytes;
  if (steps == 1) load_rows(rows, stride);
  for (int panel = 0; panel < count; ++panel) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    for (int step = 0; step < steps; ++step, panels += kPanelStepBytes) {
      if (steps > 1) load_rows(rows + step * kRowStepBytes, stride);
      _tile_loadd(6, panels, kTileRowBytes);
      _tile_dpbssd(0, 4, 6);
      _tile_dpbusd(1, 5, 6);
      _tile_loadd(7, panels + kTileBytes, kTileRowBytes);
      _tile_dpbuud(2, 5, 7);
      _tile_dpbsud(1, 4, 7);
    }
    PlaneSums sums;
    _tile_stored(0, sums.high.lane, kTileRowBytes);
    _tile_stored(1, sums.middle.lane, kTileRowBytes);
    _tile_stored(2, sums.low.lane, kTileRowBytes);
    body(panel, sums);
  }
}

class TileProducts {
 public:
  static constexpr int kRowsTogether = kTileRows;
  struct Shares {
    uint8_t planes[kRowStepBytes];
  };

  TileProducts(const AttentionJob& job, float* memory)
      : job_(job),
        steps_(round_up(job.head_size, kTileRowBytes) / kTileRowBytes),
        queries_(reinterpret_cast<uint8_t*>(memory)),
        keys_(queries_ + (job.queries.size() + int64_t{kTileRows}) * steps_ * kRowStepBytes),
        values_(keys_ + kKeysTogether / kPanelColumns * int64_t{kPanelStepBytes} * steps_) {}

  float pack_query(int row, const float* query) const {
    const float span = span_of_query(query, job_.head_size), steps = score_steps(job_.head_size);
    uint8_t* to = query_planes(row);
    for (int step = 0; step < steps_; ++step, to += kRowStepBytes) {
      const BytePlanes planes = planes_of(query, step, splat(steps / span));
      _mm512_store_si512(to, planes.high);
      _mm512_store_si512(to + kTileRowBytes, planes.low);
    }
    return span / steps;
  }

  float pack_keys(Range block) const {
    const float span = span_of_keys(job_, block), steps = score_steps(job_.head_size);
    uint8_t* to = keys_;
    for (int begin = block.begin; begin < block.end; begin += kPanelColumns) {
      for (int step = 0; step < steps_; ++step, to += kPanelStepBytes) {
        Ints high[kTileRows], low[kTileRows];
        for (int lane = 0; lane < kPanelColumns; ++lane) {
          const BytePlanes planes =
              planes_of(key_of_block(job_, block, begin + lane), step, splat(steps / span));
          high[lane] = planes.high;
          low[lane] = planes.low;
        }
        store_transposed(high, to);
        store_transposed(low, to + kTileBytes);
      }
    }
    finish_writing(keys_);
    return span / steps;
  }

  void pack_values(Range block, float* scales) const {
    uint8_t* to = values_;
    for_columns(job_.head_size, [&](int column, int lanes) {
      const ValueCodes codes(job_, block, column, lanes, scales);
      for (int row = 0; row < kTileRows; ++row) {
        const BytePlanes planes(codes.pairs(row), codes.pairs(row + 2 * kTileRows));
        _mm512_store_si512(to + row * kTileRowBytes, planes.high);
        _mm512_store_si512(to + kTileBytes + row * kTileRowBytes, planes.low);
      }
      to += kPanelStepBytes;
    });
    finish_writing(values_);
  }

  static Ints pack_shares(const ScoresOfRow& row, Shares& to) {
    Ints sums = no_pairs();
    const Ints first = share_pairs(row, 0, sums);
    const BytePlanes planes(first, row.count > 32 ? share_pairs(row, 32, sums) : no_pairs());
    _mm512_store_si512(to.planes, planes.high);
    _mm512_store_si512(to.planes + kTileRowBytes, planes.low);
    return sums;
  }

  // The tile has rows behind the group's; they are of no use and do no harm.
  void score(int row, int count, int panels, float (*scores)[kKeysTogether]) const {
    finish_writing(queries_);
    for_plane_sums(query_planes(row), keys_, steps_, panels,
                   [&](int panel, const PlaneSums& sums) M3E_INLINE {
                     for (int r = 0; r < count; ++r) {
                       store(scores[r] + panel * kPanelColumns, to_float(sums(r)));
                     }
                   });
  }

  template <class Group>
  void mix(const Group& group, int row, int count, const KeyBlock& block,
           const float* scales) const {
    // Local, so that the compiler knows that no result is written over them.
    const int64_t stride = job_.out_stride;
    const int columns = job_.head_size;
    const bool first = block.first;
    float* out = job_.out + (job_.queries.begin + row) * stride + job_.head;
    const uint8_t* shares = group.shares[0].planes;
    finish_writing(shares);
    for_plane_sums(shares, values_, 1, (columns + kPanelColumns - 1) / kPanelColumns,
                   [=, &group](int panel, const PlaneSums& sums) M3E_INLINE {
                     const int column = panel * kPanelColumns, left = columns - column;
                     const int lanes = left < kPanelColumns ? left : kPanelColumns;
                     const Floats scale = load(scales + column);
                     for (int r = 0; r < count; ++r) {
                       mix_row(sums(r), scale, group.kept[r], group.added[r],
                               out + r * stride + column, lanes, first);
                     }
                   });
  }

 private:
  uint8_t* query_planes(int row) const {
    return queries_ + static_cast<int64_t>(row) * steps_ * kRowStepBytes;
  }
  BytePlanes planes_of(const float* row, int step, Floats steps) const {
    const int column = step * kTileRowBytes;
    return {code_pairs_at(row, column, job_.head_size, steps),
            code_pairs_at(row, column + 32, job_.head_size, steps)};
  }
  static void store_transposed(Ints (&x)[kTileRows], uint8_t* to) {
    transpose(x);
    for (int row = 0; row < kTileRows; ++row) _mm512_store_si512(to + row * kTileRowBytes, x[row]);
  }

  const AttentionJob& job_;
  const int steps_;
  uint8_t* const queries_;  // [rows + 16][steps][2][64]: a tile may begin at the last row
  uint8_t* const keys_;     // of a block: [4][steps][2][16][64]
  uint8_t* const values_;   // of a block: [head_size / 16][2][16][64]
};

// Tiles are computed whole, and their sums pass through memory. With half a block of keys, or half
// a tile of queries, vpdpwssd takes no longer; the results are the same.
constexpr int kLeastTileKeys = 33, kLeastTileQueries = 8;

void attention_tiles(const AttentionJob& job) {
  if (job.length < kLeastTileKeys || job.queries.size() < kLeastTileQueries) {
    return attention_int16(job);
  }
  attention_rounded<TileProducts>(job);
}

}  // namespace
}  // namespace m3e
