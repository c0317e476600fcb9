// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16 with vdpbf16ps: two inputs in one step. The bytes are those of FloatPairs.
#pragma once

#include "bfloat16.h"

namespace m3e {
namespace {

// The upper halves of two vectors of floats: that of `even` below that of `odd`.
inline __m512i pair_of(Floats even, Floats odd) {
  constexpr int kFirstOrBoth = 0xF8;  // a | (b & c)
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                   _mm512_castps_si512(odd),
                                   _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)), kFirstOrBoth);
}

// source(p, k) gives inputs 2k and 2k + 1 of panel p. The last input may have no partner.
struct PackingPairs {  // packs float16 and keeps the pairs for the next tiles
  Stored<uint16_t> halves;
  int inputs;
  float* packed;  // or null
  static constexpr int64_t kStride = static_cast<int64_t>(kInputsBlock / 2) * kPanelColumns;

  __m512i operator()(int panel, int pair) const {
    const int even = 2 * pair, odd = even + 1;
    const __m512i w = pair_of(halves(panel, even), odd < inputs ? halves(panel, odd) : zero());
    if (packed)
      _mm512_storeu_si512(packed + panel * kStride + static_cast<int64_t>(pair) * kPanelColumns, w);
    return w;
  }
};
struct PackedPairs {
  const float* packed;
  __m512i operator()(int panel, int pair) const {
    return _mm512_loadu_si512(packed + panel * PackingPairs::kStride +
                              static_cast<int64_t>(pair) * kPanelColumns);
  }
};

// Zero where bfloat16_bits says zero. NaN stays.
inline Floats without_tiny(Floats x) {
  const __mmask16 kept = _mm512_cmp_ps_mask(magnitude(x), splat(0x1p-94f), _CMP_NLT_UQ);
  return _mm512_maskz_mov_ps(kept, x);
}

// A row of pairs, each in the place of a float.
inline void round_pairs(const float* x, int inputs, float* rounded) {
  const auto part = [&](int from) {
    const int count = inputs - from;
    return without_tiny(count >= 16 ? load(x + from) : load_first(x + from, count < 0 ? 0 : count));
  };
  for (int k = 0; k < inputs; k += 32) {
    const __m512bh pairs = _mm512_cvtne2ps_pbh(part(k + 16), part(k));
    std::memcpy(rounded + k / 2, &pairs, sizeof pairs);
  }
}
inline int64_t pair_offset(const FloatProduct& product, int row, int input) {
  return static_cast<int64_t>(row - product.rows.begin) * product.stride +
         (input - product.first_input) / 2;
}

template <int kRows, int kPanels, class Source>
[[gnu::noinline]] void pair_tile(const FloatProduct& product, Source weights, int row, int panel,
                                 Range inputs, Ahead ahead) {
  Floats sums[kRows][kPanels];
  unroll<kRows>(
      [&](auto r) M3E_INLINE { unroll<kPanels>([&](auto p) M3E_INLINE { sums[r][p] = zero(); }); });
  const float* x = product.x + pair_offset(product, row, inputs.begin);
  const int pairs = (inputs.size() + 1) / 2;
  for (int k = 0; k < pairs; ++k) {
    __m512i w[kPanels];
    unroll<kPanels>([&](auto p) M3E_INLINE {
      w[p] = weights(p, k);
      ahead(p, 2 * k);
      ahead(p, 2 * k + 1);
    });
    unroll<kRows>([&](auto r) M3E_INLINE {
      const auto value = reinterpret_cast<__m512bh>(_mm512_set1_ps(x[r * product.stride + k]));
      unroll<kPanels>([&](auto p) M3E_INLINE {
        sums[r][p] = _mm512_dpbf16_ps(sums[r][p], value, reinterpret_cast<__m512bh>(w[p]));
        settle(sums[r][p]);
      });
    });
  }
  add_block(product.w, product.to, row, panel, inputs, sums);
}

struct Bfloat16Pairs {
  using Weights = uint16_t;
  static void round(const float* x, int inputs, float* rounded) { round_pairs(x, inputs, rounded); }
  template <int kRows, int kPanels>
  static void tile(const FloatProduct& product, Stored<Weights> weights, bool first, int row,
                   int panel, Range inputs, Ahead ahead) {
    if (first) {
      const PackingPairs packing{weights, inputs.size(), product.widened};
      pair_tile<kRows, kPanels>(product, packing, row, panel, inputs, ahead);
    } else {
      pair_tile<kRows, kPanels>(product, PackedPairs{product.widened}, row, panel, inputs, ahead);
    }
  }
};

inline void gemm_bfloat16_pairs(const float* x, int stride, const FloatMatrix& w,
                                const Epilogue& to, Range rows, Range panels, float* scratch) {
  gemm_bfloat16_as<Bfloat16Pairs>(x, stride, w, to, rows, panels, scratch);
}

}  // namespace
}  // namespace m3e
