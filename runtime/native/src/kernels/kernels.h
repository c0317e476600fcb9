// SPDX-License-Identifier: Apache-2.0
// The arithmetic of an encoder: one table of functions for each instruction set.
//
// All matrices are row-major. Rows of floats have a stride that is a multiple of 16, and their
// padding columns hold finite values. Rows of 8-bit codes have a stride that is a multiple of 64. A
// function computes a row in the same order of operations for any number of other rows and threads,
// which makes a text's vector independent of its batch.
#pragma once

#include <cstdint>

namespace m3e {

constexpr int kPanelColumns = 16;  // output channels that are adjacent in a packed matrix
constexpr int kInputsAlign = 64;   // inputs of an 8-bit matrix are padded to this

constexpr int round_up(int value, int step) { return (value + step - 1) / step * step; }

struct Range {
  int begin, end;
  int size() const { return end - begin; }
};

// Rows of 8-bit activations: x = minimum + scale · code, with scale and minimum per row.
struct QuantizedRows {
  uint8_t* codes;  // [rows][stride]
  int stride;
  float* scale;    // [rows]
  float* minimum;  // [rows]
};

// A packed matrix of signed 8-bit weights: w[k][n] ≈ scales[n] · code.
struct Int8Matrix {
  const int8_t* panels;  // [outputs / 16][inputs / 4][16][4], padded with zeros
  const float* scales;   // [padded outputs]
  const float*
      sums;  // [padded outputs]: scales[n] · Σₖ code, what a row's minimum is multiplied by
  const float* bias;       // [padded outputs]
  const float* smoothing;  // factors on the inputs, [inputs], or null
  int inputs, outputs;
};

// A packed matrix of floats, stored as float32 or float16.
struct FloatMatrix {
  const float* panels;          // [outputs / 16][inputs][16], or null
  const uint16_t* half_panels;  // the same in float16, or null
  const float* bias;            // [padded outputs]
  int inputs, outputs;
};

// Floats of scratch that a product with a float16 matrix needs: for a block of its weights,
// widened, and for rows rounded to bfloat16.
constexpr int kWidenedScratch = 384 * 4 * kPanelColumns;
constexpr int kFloatScratch = kWidenedScratch + 128 * (2 * 384 + kPanelColumns);

enum class Activation { none, gelu, gelu_tanh, quick_gelu, relu, silu };

// The last step of a product: out = activation(residual + product + bias).
struct Epilogue {
  float* out;
  int stride;
  const float* residual;  // of the same stride, or null; may be `out` itself
  Activation activation;
  // Whether panels of the product and panels of their factors take turns: panel i of `out` is then
  // activation(panel 2 i) · panel 2 i + 1. Without a residual, from an even panel on, and of 8-bit
  // matrices only.
  bool gated = false;
};

enum class NormKind { layer, rms };

struct NormWeights {
  const float* gamma;  // [hidden]
  const float* beta;   // [hidden]
  float epsilon;
};

// Word embeddings as float32, float16, or 8-bit codes with a scale per row: exactly one of the
// tables is set.
struct EmbeddingTable {
  const float* words;
  const uint16_t* half_words;
  const int8_t* word_codes;
  const float* word_scales;
  const float* positions;
  const uint16_t* half_positions;
};

// More than any text has tokens, and so little that sums of several fit.
constexpr int kUnlimited = 1 << 21;

// Query i sees the keys from i - before to i + after.
struct Span {
  int before = kUnlimited, after = kUnlimited;
  bool is_full() const { return before == kUnlimited && after == kUnlimited; }
};

// Turns the pairs of columns (k, k + size / 2) of each head by the angles of the token's position.
struct Rotation {
  const float* table;  // [positions][size]: the cosines of size / 2 angles, then their sines
  int size;            // columns of a head that are turned; even
  int heads;
  int between;  // from the first column of a head to that of the next
};

// Attention of one head of one sequence, for some of its query rows.
struct AttentionJob {
  const float* qkv;  // first row of the sequence: query, key and value, each of all heads
  int stride;
  int hidden;  // offset from query to key to value
  int head;    // offset of the head within each
  int head_size;
  int length;     // tokens of the sequence that have keys and values
  Range queries;  // rows to compute, at most `length`; some may lie behind these tokens
  float* out;     // first row of the sequence, [rows][out_stride], written at column `head`
  int out_stride;
  float* scratch;  // attention_scratch(length, head_size) floats
  // bias[j − i] is added to the scaled score of query i and key j, from bias[1 − length] to
  // bias[length − 1].
  const float* bias = nullptr;  // or null
  Span span{};                  // keys that a query sees; each sees one at least
};

constexpr int kLengthAtOnce = 512;     // up to which attention on floats packs all keys at once
constexpr int kQueriesTogether = 512;  // queries of longer texts that pass all keys together

// Floats of scratch that an AttentionJob needs, in either function; a multiple of 16. A text longer
// than both constants needs no more than one as long as they are.
int64_t attention_scratch(int length, int head_size);

struct Kernels {
  const char* name;
  // A thread calls the other functions between these two. With AMX they configure and release its
  // tiles. The caller's code must not run on the thread in between: it may use tiles itself.
  void (*prepare_thread)();
  void (*release_thread)();
  void (*embed)(const EmbeddingTable&, const int32_t* ids, const int32_t* positions, int hidden,
                float* out, int stride, Range rows);
  // Layer normalization of `x`, written to rows of the same stride, or in place.
  void (*layer_norm)(const NormWeights&, int hidden, const float* x, float* out, int stride,
                     Range rows);
  // Divides by the root of the mean square, and subtracts no mean.
  void (*rms_norm)(const NormWeights&, int hidden, const float* x, float* out, int stride,
                   Range rows);
  // `x` is the first head of the token at position 0.
  void (*rotate)(const Rotation&, float* x, int stride, Range rows);
  void (*quantize)(const float* x, int stride, int columns, const float* smoothing,
                   const QuantizedRows&, Range rows);
  void (*gemm_int8)(const QuantizedRows&, const Int8Matrix&, const Epilogue&, Range rows,
                    Range panels);
  // out = activation(x) · factor. Panels of x and panels of factors take turns in a row of `x`;
  // `panels` counts those of `out`.
  void (*gate)(Activation, const float* x, int stride, float* out, int out_stride, int panels,
               Range rows);
  // `scratch` has kFloatScratch floats, or is null if the matrix is stored as float32.
  void (*gemm_float)(const float* x, int stride, const FloatMatrix&, const Epilogue&, Range rows,
                     Range panels, float* scratch);
  // gemm_float for float16 weights that bfloat16 holds exactly. Rounds the rows to bfloat16; see
  // bfloat16.h. Every table gives the same bytes, unless it rounds to odd.
  void (*gemm_bfloat16)(const float* x, int stride, const FloatMatrix&, const Epilogue&, Range rows,
                        Range panels, float* scratch);
  bool rounds_to_odd;  // whether gemm_bfloat16 rounds its sums as Arm does; see bfloat16_neon.h
  void (*attention)(const AttentionJob&);
  // For encoders with int8 products. May round to 16 bits if that is faster.
  void (*attention_rounded)(const AttentionJob&);
  // Mean of rows [0, length), or the first row; scaled to unit length when asked.
  void (*pool)(const float* x, int stride, int hidden, int length, bool first, bool normalize,
               float* out);
};

// The table called `name`, or the fastest supported one if `name` is null. Returns null if the name
// is unknown, not compiled in, or not supported by this processor.
const Kernels* find_kernels(const char* name);

// Writes the names of the supported tables, fastest first; returns how many there are.
int supported_kernels(const char** names, int capacity);

}  // namespace m3e
