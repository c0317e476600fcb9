// SPDX-License-Identifier: Apache-2.0
// The weights of an encoder, as views into a mapped file.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "pooling.h"
#include "safetensors.h"

namespace m3e {

struct Sizes {
  int layers, hidden, heads, intermediate, vocabulary, positions;
  int padding;  // token id that is always at position 0 and moves no other token; -1: there is none
  int token_types;  // from type 0 on; 1: tokens have no types
  int embedding;    // width of the embeddings
  int dimension;    // of a sentence vector
  int widest;       // largest width from the pooled vector to the sentence vector
  bool gated;       // whether activated columns of the feed-forward part are multiplied by others
  int head_size() const { return hidden / heads; }
  // Columns of the product that precedes the activation. In a gated layer, panels of columns that
  // pass the activation and panels of their factors take turns.
  int wide_columns() const {
    return gated ? 2 * round_up(intermediate, kPanelColumns) : intermediate;
  }
};

// An int8 or a float matrix; `int8.panels` is null for a float matrix.
struct Matrix {
  Int8Matrix int8{};
  FloatMatrix floats{};
  bool is_int8() const { return int8.panels != nullptr; }
  int outputs() const { return is_int8() ? int8.outputs : floats.outputs; }
  int panels() const { return (outputs() + kPanelColumns - 1) / kPanelColumns; }
  Matrix from(int panel) const;  // the panels from there on
};

// The normalizations of attention and feed-forward part follow the residual sum, or precede the
// part if the encoder normalizes first. One that a layer lacks has no gamma.
struct Layer {
  Matrix qkv, attention_output, intermediate, output;
  NormWeights attention_norm, output_norm;
  NormWeights second_norm;           // of the layer's input plus what attention_norm gives
  NormWeights query_norm, key_norm;  // of all heads together, before a rotation
  Span span{};                       // keys that a query sees
  const float* rotary = nullptr;     // Weights::rotary_size floats for each position; or null
};

// A layer after the pooling: linear (always float32), layer normalization, or scaling to unit
// length.
struct HeadLayer {
  enum class Kind { dense, layer_norm, unit_length } kind;
  int width;  // of its output
  Matrix matrix{};
  HeadActivation activation = HeadActivation::identity;
  NormWeights norm{};
};

// Linear layers, always float32, that each token's state passes after the last layer.
struct TokenHeads {
  Matrix weight{};           // to one number, which is then at least 0; without outputs: none
  Matrix vector{};           // to the token's vector; without outputs: none
  bool unit_length = false;  // whether the vectors are scaled to unit length

  int vector_size() const { return vector.floats.outputs; }
  bool has_weight() const { return weight.floats.outputs != 0; }
  int widest() const { return std::max(weight.floats.outputs, vector.floats.outputs); }
};

// The head of a masked language model, which gives each term of the vocabulary a weight in a text:
// the largest of its tokens' logits, at least 0, of which log(1 + x) is taken.
struct TermHead {
  Matrix transform{};  // of states to states of the same width; without outputs: there is no head
  Activation activation = Activation::none;  // after the transform
  NormWeights norm{};                        // after the activation
  Matrix decoder{};                          // to a logit of each term
  int logarithms = 0;                        // how often log(1 + x) is taken

  bool exists() const { return logarithms > 0; }
};

class Weights {
 public:
  // Throws Error if the file does not match its metadata exactly.
  explicit Weights(const std::string& path);

  Sizes sizes;
  Pooling pooling;
  bool normalize;
  Activation activation;
  EmbeddingTable embeddings{};
  bool has_int8 = false;
  bool has_halves = false;  // whether a matrix is stored as float16
  // Whether products with float16 matrices round to bfloat16; see bfloat16.h.
  bool bfloat16 = false;
  // [token_types − 1][embedding]: the embedding of each type but 0, minus that of type 0, which the
  // positions contain. Null if tokens have no types.
  const float* token_types = nullptr;
  NormWeights embedding_norm{};  // without gamma: none
  bool one_position = false;     // whether all tokens have the same row of the position table
  NormKind norm_kind = NormKind::layer;  // of all normalizations up to the last states
  bool norm_first = false;               // see Layer
  NormWeights final_norm{};              // of the last states; without gamma: none
  int rotary_size = 0;                   // columns of a head that a rotation turns; 0: none
  bool projected;  // whether a matrix projects the embeddings to the width of the layers
  Matrix embedding_projection;
  // [heads][2 · positions − 1], or null if the scores have no bias.
  const float* relative_bias = nullptr;
  std::vector<Layer> layers;    // layers that share weights are equal
  std::vector<HeadLayer> head;  // after the pooling
  TokenHeads token_heads;
  TermHead term_head;
  // [layers + 1], or null if only the last states are pooled.
  const float* state_weights = nullptr;

  // See m3e_arithmetic.
  const char* arithmetic(const Kernels& kernels) const;

  // AttentionJob::bias.
  const float* bias_of(int head) const;

  // Whether the kernels' own pooling gives the sentence vector.
  bool simple_pooling() const { return pooling.simple() && head.empty() && !state_weights; }

 private:
  void read_metadata();
  void read_embeddings();
  void read_token_types();
  void read_relative_bias();
  void read_layers();
  void read_stored_layers();
  Layer read_layer(int index);
  void read_spans();
  void read_rotary();
  void read_state_weights();
  void read_head();
  void read_token_heads();
  void read_term_head();
  HeadLayer head_layer(const std::string& name, int width, const std::string& what);
  Matrix float_matrix(const std::string& name, int inputs, int outputs);
  Matrix matrix(const std::string& name, int inputs, int outputs);
  NormWeights norm(const std::string& name, int width);
  const float* floats(const std::string& name, int64_t count);
  const float* finite(const std::string& name, const std::vector<int64_t>& shape);
  const Tensor& take(const std::string& name, const char* type, const std::vector<int64_t>& shape);

  SafeTensors file_;
  size_t used_ = 0;
  float epsilon_ = 0;
  bool lacks_first_norm_ = false;  // whether layer 0 has no attention_norm
  bool norms_queries_ = false;     // whether layers have query_norm and key_norm
  bool norms_twice_ = false;       // whether layers have second_norm
};

}  // namespace m3e
