// SPDX-License-Identifier: Apache-2.0
#include "term_weights.h"

#include <algorithm>
#include <cmath>

namespace m3e {
namespace {

// Some panels of a matrix, as a matrix.
Matrix part(const Matrix& whole, Range panels) {
  Matrix found = whole.from(panels.begin);
  int& outputs = found.is_int8() ? found.int8.outputs : found.floats.outputs;
  outputs = std::min(panels.size() * kPanelColumns, outputs);
  return found;
}

// Logits of some rows, from the first line of the scratch on.
void multiply(const Matrix& decoder, const Kernels& kernels, const TermStates& states,
              bool bfloat16, Range rows, const TermScratch& scratch) {
  const Epilogue to{scratch.logits, kTermStride, nullptr, Activation::none};
  const Range all{0, rows.size()}, panels{0, decoder.panels()};
  const int64_t first = rows.begin;
  if (decoder.is_int8()) {
    const QuantizedRows& codes = states.codes;
    const QuantizedRows some{codes.codes + first * codes.stride, codes.stride, codes.scale + first,
                             codes.minimum + first};
    return kernels.gemm_int8(some, decoder.int8, to, all, panels);
  }
  const bool rounded = bfloat16 && decoder.floats.half_panels;
  (rounded ? kernels.gemm_bfloat16 : kernels.gemm_float)(states.x + first * states.stride,
                                                         states.stride, decoder.floats, to, all,
                                                         panels, scratch.halves);
}

// Raises the weights of a text, [count], to the logits of its tokens.
void raise(const float* logits, Range lines, float* weights, int count) {
  for (int line = lines.begin; line < lines.end; ++line) {
    const float* from = logits + int64_t{line} * kTermStride;
    for (int term = 0; term < count; ++term) weights[term] = std::max(weights[term], from[term]);
  }
}

// Most weights are zero, and stay so.
void take_logarithms(float* weights, int count, int times) {
  for (int term = 0; term < count; ++term) {
    if (weights[term] == 0) continue;
    double weight = static_cast<double>(weights[term]);
    for (int i = 0; i < times; ++i) weight = std::log1p(weight);
    weights[term] = static_cast<float>(weight);
  }
}

}  // namespace

void weigh_terms(const TermHead& head, const Kernels& kernels, const TermStates& states,
                 bool bfloat16, const TermTexts& texts, Range panels, const TermScratch& scratch) {
  const auto start = [&](int text) {
    return static_cast<int>(texts.offsets[text] - texts.offsets[0]);
  };
  for (int panel = panels.begin; panel < panels.end; panel += kTermPanels) {
    const Matrix decoder = part(head.decoder, {panel, std::min(panel + kTermPanels, panels.end)});
    const int count = decoder.outputs();
    const auto weights_of = [&](int text) {
      return texts.weights + int64_t{text} * texts.vocabulary + int64_t{panel} * kPanelColumns;
    };
    for (int text = 0; text < texts.texts; ++text) {
      std::fill(weights_of(text), weights_of(text) + count, 0.0f);
    }
    int text = 0;
    for (int begin = 0; begin < start(texts.texts); begin += kTermRows) {
      const Range rows{begin, std::min(begin + kTermRows, start(texts.texts))};
      multiply(decoder, kernels, states, bfloat16, rows, scratch);
      for (; text < texts.texts && start(text) < rows.end; ++text) {
        const Range lines{std::max(start(text) - begin, 0),
                          std::min(start(text + 1), rows.end) - begin};
        raise(scratch.logits, lines, weights_of(text), count);
        if (start(text + 1) > rows.end) break;  // it goes on in the next rows
      }
    }
    for (text = 0; text < texts.texts; ++text) {
      take_logarithms(weights_of(text), count, head.logarithms);
    }
  }
}

}  // namespace m3e
