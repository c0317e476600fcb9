// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16 with bfmmla: a 2 × 2 block of sums from two rows and two columns of 4
// inputs.
//
// Arm's products of bfloat16 round differently from every other sum here. A step of 4 inputs adds
// them in pairs: x₀w₀ + x₁w₁, rounded, is added to the sum, which is rounded, then the same with
// the other two. Both roundings are to odd: a sum that float32 does not hold becomes the one of its
// two neighbours whose last bit is 1. The manual defines this to the last bit ("Arm Architecture
// Reference Manual", BFMatMulAdd and BFDotAdd), so all processors agree, and a row has the same
// bytes beside any other row. Only a program that sets FPCR.EBF, on a processor with FEAT_EBF16,
// gets other roundings. Subnormal numbers, which would become zero, do not arise: see
// bfloat16_bits.
#pragma once

#include "bfloat16.h"

namespace m3e {
namespace {

constexpr int kQuad = 4;                                // inputs of a step
constexpr int kQuadFloats = kQuad * kPanelColumns / 2;  // a step's packed weights, in floats
constexpr int kTilePairs = 3;  // pairs of rows in a tile: 24 registers of sums
static_assert(kFloatTilePanels == 1 && kInputsBlock % kQuad == 0,
              "a tile has one panel, and only the last block of inputs may end within a step");

inline bfloat16x8_t load_bfloat16(const float* p) { return vreinterpretq_bf16_f32(vld1q_f32(p)); }
inline void store_bfloat16(float* p, bfloat16x8_t x) { vst1q_f32(p, vreinterpretq_f32_bf16(x)); }

// Zero where bfloat16_bits says zero. NaN stays.
inline float32x4_t without_tiny(float32x4_t x) {
  const uint32x4_t tiny = vcaltq_f32(x, vdupq_n_f32(0x1p-94f));
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), tiny));
}

// Two rows of bfloat16, in turns: 4 inputs of the first, 4 of the second. Zeros follow the last.
inline void round_pair(const float* first, const float* second, int inputs, float* rounded) {
  for (int k = 0; k < inputs; k += 16) {
    const int count = inputs - k < 16 ? inputs - k : 16;
    const auto part = [&](const float* row) {
      if (!row) return zero();
      return count == 16 ? load(row + k) : load_first(row + k, count);
    };
    const Floats x = part(first), y = part(second);
    for (int i = 0; i < 4; ++i) {
      const bfloat16x8_t half = vcvtq_low_bf16_f32(without_tiny(x.part[i]));
      store_bfloat16(rounded + k + 4 * i, vcvtq_high_bf16_f32(half, without_tiny(y.part[i])));
    }
  }
}

// The last row may have no partner.
inline void round_in_pairs(const float* x, int64_t stride, Range rows, Range inputs,
                           float* rounded) {
  for (int row = rows.begin; row < rows.end; row += 2) {
    const float* first = x + row * stride + inputs.begin;
    round_pair(first, row + 1 < rows.end ? first + stride : nullptr, inputs.size(),
               rounded + (row - rows.begin) / 2 * kRoundedStride);
  }
}

// The weights of 4 inputs and 4 columns: two columns in each half, 4 inputs of each.
struct FourColumns {
  bfloat16x8_t left, right;
};

// The upper halves of two vectors of floats: that of `even` below that of `odd`.
inline uint32x4_t pair_of(float32x4_t even, float32x4_t odd) {
  return vsriq_n_u32(vreinterpretq_u32_f32(odd), vreinterpretq_u32_f32(even), 16);
}

// source(quad, part) gives the weights of inputs 4 quad … 4 quad + 3 in columns 4 part …
// 4 part + 3.
class PackingQuads {  // packs float16 and keeps the bfloat16 for the next tiles
 public:
  PackingQuads(Stored<uint16_t> halves, int inputs, float* packed)
      : halves_(halves.from), whole_(inputs / kQuad), packed_(packed) {
    const size_t left = static_cast<size_t>(inputs % kQuad) * kPanelColumns;
    if (left) std::memcpy(last_, halves_ + halves_before(whole_), left * sizeof *last_);
  }
  M3E_INLINE FourColumns operator()(int quad, int part) const {
    const uint16_t* from = (quad < whole_ ? halves_ + halves_before(quad) : last_) + 4 * part;
    const auto input = [&](int i) M3E_INLINE {
      return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + i * kPanelColumns)));
    };
    const uint32x4_t near = pair_of(input(0), input(1)), far = pair_of(input(2), input(3));
    const FourColumns w{vreinterpretq_bf16_u32(vzip1q_u32(near, far)),
                        vreinterpretq_bf16_u32(vzip2q_u32(near, far))};
    if (packed_) {
      float* to = packed_ + quad * kQuadFloats + 8 * part;
      store_bfloat16(to, w.left);
      store_bfloat16(to + 4, w.right);
    }
    return w;
  }

 private:
  static int64_t halves_before(int quad) {
    return static_cast<int64_t>(quad) * kQuad * kPanelColumns;
  }

  const uint16_t* halves_;
  int whole_;      // steps before the last inputs, which are fewer than 4
  float* packed_;  // or null
  uint16_t last_[kQuad * kPanelColumns] = {};
};
struct PackedQuads {
  const float* packed;
  M3E_INLINE FourColumns operator()(int quad, int part) const {
    const float* from = packed + quad * kQuadFloats + 8 * part;
    return {load_bfloat16(from), load_bfloat16(from + 4)};
  }
};

// The sums of two rows and 16 columns.
struct SumsOfPair {
  float32x4_t block[8];

  M3E_INLINE Floats row(bool second) const {
    return each([&](int i) {
      const float64x2_t left = vreinterpretq_f64_f32(block[2 * i]);
      const float64x2_t right = vreinterpretq_f64_f32(block[2 * i + 1]);
      return vreinterpretq_f32_f64(second ? vzip2q_f64(left, right) : vzip1q_f64(left, right));
    });
  }
};

// `pair` counts from the first of the product's rows.
template <int kPairs, class Source>
[[gnu::noinline]] void matrix_tile(const FloatProduct& product, Source weights, int pair, int panel,
                                   Range inputs, Ahead ahead) {
  SumsOfPair sums[kPairs];
  unroll<kPairs>([&](auto r) M3E_INLINE {
    unroll<8>([&](auto i) M3E_INLINE { sums[r].block[i] = vdupq_n_f32(0); });
  });
  const float* x =
      product.x + static_cast<int64_t>(pair) * product.stride + inputs.begin - product.first_input;
  const int stride = product.stride, quads = (inputs.size() + kQuad - 1) / kQuad;
  for (int quad = 0; quad < quads; ++quad) {
    bfloat16x8_t rows[kPairs];
    unroll<kPairs>([&](auto r)
                       M3E_INLINE { rows[r] = load_bfloat16(x + r * stride + quad * kQuad); });
    // Two inputs of float16 are a line.
    ahead(0, quad * kQuad);
    ahead(0, quad * kQuad + 2);
    unroll<4>([&](auto part) M3E_INLINE {
      const FourColumns w = weights(quad, part);
      unroll<kPairs>([&](auto r) M3E_INLINE {
        float32x4_t* block = sums[r].block + 2 * part;
        block[0] = vbfmmlaq_f32(block[0], rows[r], w.left);
        block[1] = vbfmmlaq_f32(block[1], rows[r], w.right);
      });
      // GCC would load all weights first, and have no register left for four of the sums.
      asm volatile("" ::: "memory");
    });
  }
  unroll<2 * kPairs>([&](auto r) M3E_INLINE {
    const int row = product.rows.begin + 2 * pair + r;
    const Floats sum[1][1] = {{sums[r / 2].row(r % 2)}};
    if (row < product.rows.end) add_block(product.w, product.to, row, panel, inputs, sum);
  });
}

struct Bfloat16Matrices {
  using Weights = uint16_t;
  template <int kPairs, int kPanels>
  static void tile(const FloatProduct& product, Stored<Weights> weights, bool first, int pair,
                   int panel, Range inputs, Ahead ahead) {
    if (first) {
      const PackingQuads packing(weights, inputs.size(), product.widened);
      matrix_tile<kPairs>(product, packing, pair, panel, inputs, ahead);
    } else {
      matrix_tile<kPairs>(product, PackedQuads{product.widened}, pair, panel, inputs, ahead);
    }
  }
};

inline void gemm_bfloat16_matrices(const float* x, int stride, const FloatMatrix& w,
                                   const Epilogue& to, Range rows, Range panels, float* scratch) {
  float* rounded = scratch + kWidenedScratch;
  const bool few = rows.size() <= 2 * kTilePairs;
  for_near(rows, w.inputs, [&](Range some, Range inputs) {
    round_in_pairs(x, stride, some, inputs, rounded);
    const FloatProduct product{rounded, kRoundedStride,         some, inputs.begin, w,
                               to,      few ? nullptr : scratch};
    multiply_near<kTilePairs, 1, Bfloat16Matrices>(product, w.half_panels,
                                                   {0, (some.size() + 1) / 2}, panels, inputs);
  });
  activate(to, rows, panels);
}

}  // namespace
}  // namespace m3e
