// SPDX-License-Identifier: Apache-2.0
// A weight of each term of the vocabulary in each text, as SPLADE computes it
// (https://arxiv.org/abs/2109.10086): the largest logit of the text's tokens.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "weights.h"

namespace m3e {

// Texts whose terms are weighed, and where the weights are written.
struct TermTexts {
  const int64_t* offsets;  // [texts + 1], relative to offsets[0]
  int texts;
  float* weights;  // [texts][vocabulary]
  int vocabulary;
};

// States of the texts' tokens after the head's transform; codes if the decoder is int8.
struct TermStates {
  const float* x;
  int stride;
  QuantizedRows codes;
};

struct TermScratch {
  float* logits;  // [kTermScratch]
  float* halves;  // Kernels::gemm_float's
};

// Terms and tokens whose logits are computed together: both, and the decoder's columns, fit in
// cache.
constexpr int kTermPanels = 8, kTermRows = 128;
constexpr int kTermStride = kTermPanels * kPanelColumns + 16;  // no power of two
constexpr int64_t kTermScratch = static_cast<int64_t>(kTermRows) * kTermStride;

// Weighs the terms of some panels of the decoder. `bfloat16` is Weights::bfloat16. A weight depends
// on the text's states only. No more than kTermScratch logits are in memory.
void weigh_terms(const TermHead& head, const Kernels& kernels, const TermStates& states,
                 bool bfloat16, const TermTexts& texts, Range panels, const TermScratch& scratch);

}  // namespace m3e
