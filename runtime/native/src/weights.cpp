// SPDX-License-Identifier: Apache-2.0
#include "weights.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "error.h"
#include "metadata.h"

namespace m3e {
namespace {

constexpr const char* kFormat = "m3e-native";
constexpr const char* kVersion = "3";
constexpr size_t kMostHead = 16;
constexpr int kMostTypes = 1 << 16;
constexpr size_t kMostLogarithms = 2;
constexpr float kHeadEpsilon = 1e-5f;  // torch.nn.LayerNorm's own

Activation activation_named(const std::string& name) {
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "relu") return Activation::relu;
  if (name == "silu") return Activation::silu;
  refuse("the metadata says activation = '" + name.substr(0, 80) +
         "'; known: gelu, gelu_tanh, quick_gelu, relu, silu");
}

template <class Value>
const Value* as(const Tensor& tensor) {
  return reinterpret_cast<const Value*>(tensor.data);
}

}  // namespace

Matrix Matrix::from(int panel) const {
  Matrix rest = *this;
  const int column = panel * kPanelColumns;
  if (is_int8()) {
    rest.int8.panels += static_cast<int64_t>(round_up(int8.inputs, kInputsAlign)) * column;
    rest.int8.scales += column;
    rest.int8.sums += column;
    rest.int8.bias += column;
    rest.int8.outputs -= column;
    return rest;
  }
  if (floats.panels) rest.floats.panels += static_cast<int64_t>(floats.inputs) * column;
  if (floats.half_panels) rest.floats.half_panels += static_cast<int64_t>(floats.inputs) * column;
  rest.floats.bias += column;
  rest.floats.outputs -= column;
  return rest;
}

Weights::Weights(const std::string& path) : file_(path) {
  read_metadata();
  read_embeddings();
  read_token_types();
  read_relative_bias();
  read_layers();
  read_state_weights();
  read_head();
  read_token_heads();
  read_term_head();
  if (used_ != file_.size()) refuse("the file has tensors that an encoder does not use");
}

void Weights::read_metadata() {
  if (file_.metadata("format") != kFormat || file_.metadata("version") != kVersion) {
    refuse("not native weights of version " + std::string(kVersion) +
           "; export the checkpoint again");
  }
  sizes.layers = metadata_count(file_, "layers", 1024);
  sizes.hidden = metadata_count(file_, "hidden", 1 << 16);
  sizes.heads = metadata_count(file_, "heads", 1024);
  sizes.intermediate = metadata_count(file_, "intermediate", 1 << 18);
  sizes.vocabulary = metadata_count(file_, "vocabulary", 1 << 26);
  sizes.positions = metadata_count(file_, "positions", 1 << 20);
  // Absent if positions count every token. Otherwise the table has one more row, at its start.
  sizes.padding = file_.says("padding") ? metadata_number("padding", file_.metadata("padding"), 0,
                                                          sizes.vocabulary - 1)
                                        : -1;
  // Absent if the embeddings have the width of the layers.
  projected = file_.says("embedding");
  sizes.embedding = projected ? metadata_count(file_, "embedding", 1 << 16) : sizes.hidden;
  if (sizes.hidden % sizes.heads) refuse("hidden is not divisible by heads");
  pooling = Pooling::named(file_.metadata("pooling"));
  if (pooling.early == Early::words && sizes.embedding != sizes.hidden) {
    refuse("the pooling adds word embeddings to states of another width");
  }
  normalize = metadata_choice(file_, "normalize", "false", "true");
  activation = activation_named(file_.metadata("activation"));
  epsilon_ = metadata_epsilon(file_.metadata("norm_eps"));
  bfloat16 = metadata_says(file_, "products", "bfloat16");  // absent if products are float32
  sizes.gated = metadata_says(file_, "feed_forward", "gated");
  one_position = metadata_says(file_, "position_table", "one");
  if (one_position && sizes.padding >= 0) {
    refuse("one position for all tokens, and padding that moves none, are not possible together");
  }
  if (metadata_says(file_, "norm_kind", "rms")) norm_kind = NormKind::rms;
  norm_first = metadata_says(file_, "norm_place", "before");
  lacks_first_norm_ = metadata_says(file_, "first_norm", "none");
  if (lacks_first_norm_ && !norm_first) {
    refuse("the first normalization may be left out only where it precedes the attention");
  }
  norms_queries_ = metadata_says(file_, "query_key_norm", "hidden");
  norms_twice_ = metadata_says(file_, "second_norm", "yes");
  if (norms_twice_ && norm_first) {
    refuse("a second normalization belongs only where the first follows the attention");
  }
}

const char* Weights::arithmetic(const Kernels& kernels) const {
  if (has_int8) return "int8 products, int32 sums";
  if (!has_halves || !bfloat16) return "float32";
  return kernels.rounds_to_odd ? "bfloat16 products, float32 sums rounded to odd"
                               : "bfloat16 products, float32 sums";
}

void Weights::read_embeddings() {
  const int64_t words = sizes.vocabulary, width = sizes.embedding;
  const int64_t positions = one_position ? 1 : sizes.positions + (sizes.padding >= 0 ? 1 : 0);
  const Tensor& table = file_.tensor("word_embeddings");
  if (table.type == "F32") {
    embeddings.words = as<float>(take("word_embeddings", "F32", {words, width}));
  } else if (table.type == "F16") {
    embeddings.half_words = as<uint16_t>(take("word_embeddings", "F16", {words, width}));
  } else {
    embeddings.word_codes = as<int8_t>(take("word_embeddings", "I8", {words, width}));
    embeddings.word_scales = floats("word_embeddings.scales", words);
  }
  if (file_.tensor("position_embeddings").type == "F16") {
    embeddings.half_positions =
        as<uint16_t>(take("position_embeddings", "F16", {positions, width}));
  } else {
    embeddings.positions = as<float>(take("position_embeddings", "F32", {positions, width}));
  }
  if (!metadata_says(file_, "embedding_norm", "none")) {
    embedding_norm = norm("embedding_norm", sizes.embedding);
  }
  if (projected) {
    embedding_projection = matrix("embedding_projection", sizes.embedding, sizes.hidden);
  }
}

// The entry is absent if tokens have no types.
void Weights::read_token_types() {
  sizes.token_types =
      file_.says("token_types")
          ? metadata_number("token_types", file_.metadata("token_types"), 2, kMostTypes)
          : 1;
  if (sizes.token_types == 1) return;
  token_types = as<float>(
      take("token_type_embeddings", "F32", {int64_t{sizes.token_types} - 1, sizes.embedding}));
}

// The entry is absent if the scores have no bias.
void Weights::read_relative_bias() {
  if (!metadata_says(file_, "attention_bias", "relative")) return;
  const int64_t heads = sizes.heads, distances = 2 * static_cast<int64_t>(sizes.positions) - 1;
  relative_bias = finite("relative_bias", {heads, distances});
}

const float* Weights::bias_of(int head) const {
  const int64_t distances = 2 * static_cast<int64_t>(sizes.positions) - 1;
  return relative_bias ? relative_bias + head * distances + sizes.positions - 1 : nullptr;
}

// The entry is absent if only the last states are pooled. The first weight is that of the
// embeddings.
void Weights::read_state_weights() {
  if (!metadata_says(file_, "states", "weighted")) return;
  if (pooling.early != Early::none) {
    refuse("the pooling takes states before the last, and these are weighted too");
  }
  state_weights = finite("state_weights", {sizes.layers + 1});
}

// The metadata describes each layer by its width and its activation or kind, as in
// "300:tanh+300:layer_norm+64:identity". The entry is absent if no layer follows the pooling.
void Weights::read_head() {
  sizes.dimension = sizes.widest = sizes.hidden * static_cast<int>(pooling.parts.size());
  if (!file_.says("dense")) return;
  const std::vector<std::string> described = split(file_.metadata("dense"), '+');
  if (described.size() > kMostHead) {
    refuse("the metadata says dense = more layers than are possible");
  }
  for (const std::string& each : described) {
    const std::vector<std::string> parts = split(each, ':');
    if (parts.size() != 2) {
      refuse("the metadata says dense = '" + each.substr(0, 80) + "', not outputs:activation");
    }
    const int width = metadata_number("dense", parts[0], 1, std::max(1 << 16, sizes.dimension));
    head.push_back(head_layer("dense." + std::to_string(head.size()), width, parts[1]));
    sizes.dimension = width;
    sizes.widest = std::max(sizes.widest, width);
  }
}

HeadLayer Weights::head_layer(const std::string& name, int width, const std::string& what) {
  const bool norm = what == "layer_norm";
  if (norm || what == "unit_length") {
    if (width != sizes.dimension) {
      refuse("the metadata says dense = another width for " + what + " than goes in");
    }
    HeadLayer layer{norm ? HeadLayer::Kind::layer_norm : HeadLayer::Kind::unit_length, width};
    if (norm) {
      layer.norm = {floats(name + ".gamma", width), floats(name + ".beta", width), kHeadEpsilon};
    }
    return layer;
  }
  HeadLayer layer{HeadLayer::Kind::dense, width};
  layer.activation = head_activation_named(what);
  layer.matrix = float_matrix(name, sizes.dimension, width);
  return layer;
}

// "token_weights" says what follows the product; "token_vectors" the vectors' size and length, as
// in "1024:unit_length". Both are absent if there are only vectors of texts.
void Weights::read_token_heads() {
  if (file_.says("token_weights")) {
    metadata_choice(file_, "token_weights", "relu", "relu");
    token_heads.weight = float_matrix("token_weights", sizes.hidden, 1);
  }
  if (!file_.says("token_vectors")) return;
  const std::vector<std::string> parts = split(file_.metadata("token_vectors"), ':');
  if (parts.size() != 2 || (parts[1] != "identity" && parts[1] != "unit_length")) {
    refuse("the metadata says token_vectors = '" + file_.metadata("token_vectors").substr(0, 80) +
           "'; a size with :identity or :unit_length is needed");
  }
  token_heads.unit_length = parts[1] == "unit_length";
  const int width = metadata_number("token_vectors", parts[0], 1, 1 << 16);
  token_heads.vector = float_matrix("token_vectors", sizes.hidden, width);
}

// "gelu:log1p" says what follows the transform, and that the logarithm is taken once;
// "gelu:log1p:log1p" takes it twice. The entry is absent if terms have no weights.
void Weights::read_term_head() {
  if (!file_.says("term_weights")) return;
  const std::vector<std::string> parts = split(file_.metadata("term_weights"), ':');
  const size_t logarithms = parts.size() - 1;
  if (logarithms < 1 || logarithms > kMostLogarithms ||
      !std::all_of(parts.begin() + 1, parts.end(),
                   [](const std::string& each) { return each == "log1p"; })) {
    refuse("the metadata says term_weights = '" + file_.metadata("term_weights").substr(0, 80) +
           "'; an activation with :log1p once or twice is needed");
  }
  term_head.activation = activation_named(parts[0]);
  term_head.transform = matrix("term_transform", sizes.hidden, sizes.hidden);
  term_head.norm = norm("term_norm", sizes.hidden);
  term_head.decoder = matrix("term_decoder", sizes.hidden, sizes.vocabulary);
  term_head.logarithms = static_cast<int>(logarithms);
}

Matrix Weights::float_matrix(const std::string& name, int inputs, int outputs) {
  if (file_.tensor(name).type != "F32") refuse("tensor '" + name + "' is not F32");
  return matrix(name, inputs, outputs);
}

Matrix Weights::matrix(const std::string& name, int inputs, int outputs) {
  Matrix found;
  const int padded = round_up(outputs, kPanelColumns);
  const int64_t panels = padded / kPanelColumns;
  const float* bias = floats(name + ".bias", padded);
  const std::string type = file_.tensor(name).type;
  if (type == "I8") {
    has_int8 = true;
    const int64_t steps = round_up(inputs, kInputsAlign) / 4;
    found.int8 = {as<int8_t>(take(name, "I8", {panels, steps, kPanelColumns, 4})),
                  floats(name + ".scales", padded),
                  floats(name + ".sums", padded),
                  bias,
                  file_.has(name + ".smoothing") ? floats(name + ".smoothing", inputs) : nullptr,
                  inputs,
                  outputs};
  } else if (type == "F16") {
    const Tensor& halves = take(name, "F16", {panels, inputs, kPanelColumns});
    found.floats = {nullptr, as<uint16_t>(halves), bias, inputs, outputs};
    has_halves = true;
  } else {
    const Tensor& values = take(name, "F32", {panels, inputs, kPanelColumns});
    found.floats = {as<float>(values), nullptr, bias, inputs, outputs};
  }
  return found;
}

NormWeights Weights::norm(const std::string& name, int width) {
  return {floats(name + ".gamma", width), floats(name + ".beta", width), epsilon_};
}

const float* Weights::floats(const std::string& name, int64_t count) {
  return as<float>(take(name, "F32", {count}));
}

const float* Weights::finite(const std::string& name, const std::vector<int64_t>& shape) {
  const float* values = as<float>(take(name, "F32", shape));
  const int64_t count =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
  if (!std::all_of(values, values + count, [](float x) { return std::isfinite(x); })) {
    refuse("tensor '" + name + "' holds NaN or infinite values");
  }
  return values;
}

const Tensor& Weights::take(const std::string& name, const char* type,
                            const std::vector<int64_t>& shape) {
  const Tensor& tensor = file_.tensor(name);
  if (tensor.type != type) {
    refuse("tensor '" + name + "' is " + tensor.type + " where " + type + " is needed");
  }
  if (tensor.shape != shape) {
    refuse("tensor '" + name + "' has another shape than the metadata says");
  }
  ++used_;
  return tensor;
}

}  // namespace m3e
