// SPDX-License-Identifier: Apache-2.0
#include "weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "error.h"
#include "json_text.h"

namespace m3e {
namespace {

constexpr const char* kFormat = "m3e-native";
constexpr const char* kVersion = "3";
constexpr size_t kMostHead = 16;
constexpr int kMostTypes = 1 << 16;
constexpr size_t kMostLogarithms = 2;
constexpr float kHeadEpsilon = 1e-5f;  // torch.nn.LayerNorm's own

int number(const std::string& key, const std::string& text, int smallest, int largest) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || value < smallest || value > largest) {
    refuse("the metadata says " + key + " = '" + text + "', not a number from " +
           std::to_string(smallest) + " to " + std::to_string(largest));
  }
  return static_cast<int>(value);
}

// Not by strtof, which follows the locale.
float epsilon(const std::string& text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  JsonNumber number;
  if (!read_json_number(at, end, number) || at != end || !(number.value >= 0)) {
    refuse("the metadata says norm_eps = '" + text + "'");
  }
  return static_cast<float>(number.value);
}

int bounded(const SafeTensors& file, const std::string& key, int largest) {
  return number(key, file.metadata(key), 1, largest);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char each : text) {
    if (each == separator) {
      parts.emplace_back();
    } else {
      parts.back() += each;
    }
  }
  return parts;
}

bool choice(const SafeTensors& file, const std::string& key, const char* no, const char* yes) {
  const std::string& value = file.metadata(key);
  if (value != no && value != yes) {
    refuse("the metadata says " + key + " = '" + value + "'; known: " + no + ", " + yes);
  }
  return value == yes;
}

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
  sizes.layers = bounded(file_, "layers", 1024);
  sizes.hidden = bounded(file_, "hidden", 1 << 16);
  sizes.heads = bounded(file_, "heads", 1024);
  sizes.intermediate = bounded(file_, "intermediate", 1 << 18);
  sizes.vocabulary = bounded(file_, "vocabulary", 1 << 26);
  sizes.positions = bounded(file_, "positions", 1 << 20);
  // Absent if positions count every token. Otherwise the table has one more row, at its start.
  sizes.padding = file_.says("padding")
                      ? number("padding", file_.metadata("padding"), 0, sizes.vocabulary - 1)
                      : -1;
  // Absent if the embeddings have the width of the layers.
  projected = file_.says("embedding");
  sizes.embedding = projected ? bounded(file_, "embedding", 1 << 16) : sizes.hidden;
  if (sizes.hidden % sizes.heads) refuse("hidden is not divisible by heads");
  pooling = Pooling::named(file_.metadata("pooling"));
  if (pooling.early == Early::words && sizes.embedding != sizes.hidden) {
    refuse("the pooling adds word embeddings to states of another width");
  }
  normalize = choice(file_, "normalize", "false", "true");
  activation = activation_named(file_.metadata("activation"));
  epsilon_ = epsilon(file_.metadata("norm_eps"));
  if (file_.says("products")) {  // absent if products are float32
    const std::string& kind = file_.metadata("products");
    if (kind != "bfloat16") {
      refuse("the metadata says products = '" + kind.substr(0, 80) + "'; known: bfloat16");
    }
    bfloat16 = true;
  }
}

const char* Weights::arithmetic() const {
  if (has_int8) return "int8 products, int32 sums";
  return has_halves && bfloat16 ? "bfloat16 products, float32 sums" : "float32";
}

void Weights::read_embeddings() {
  const int64_t words = sizes.vocabulary, width = sizes.embedding;
  const int64_t positions = sizes.positions + (sizes.padding >= 0 ? 1 : 0);
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
  embedding_norm = norm("embedding_norm", sizes.embedding);
  if (projected) {
    embedding_projection = matrix("embedding_projection", sizes.embedding, sizes.hidden);
  }
}

// The entry is absent if tokens have no types.
void Weights::read_token_types() {
  sizes.token_types = file_.says("token_types")
                          ? number("token_types", file_.metadata("token_types"), 2, kMostTypes)
                          : 1;
  if (sizes.token_types == 1) return;
  token_types = as<float>(
      take("token_type_embeddings", "F32", {int64_t{sizes.token_types} - 1, sizes.embedding}));
}

// "0,0,1" in the metadata means that the first two of three layers share their weights. The entry
// is absent if no layers share weights.
void Weights::read_layers() {
  if (!file_.says("layer_weights")) {
    for (int i = 0; i < sizes.layers; ++i) layers.push_back(read_layer(i));
    return;
  }
  const std::vector<std::string> numbers = split(file_.metadata("layer_weights"), ',');
  if (numbers.size() != static_cast<size_t>(sizes.layers)) {
    refuse("layer_weights names another number of layers");
  }
  std::vector<Layer> stored;
  for (const std::string& each : numbers) {
    const int count = static_cast<int>(stored.size());
    const int at = number("layer_weights", each, 0, count);  // an earlier one, or the next
    if (at == count) stored.push_back(read_layer(at));
    layers.push_back(stored[static_cast<size_t>(at)]);
  }
}

Layer Weights::read_layer(int index) {
  const std::string base = "layer." + std::to_string(index) + ".";
  const int hidden = sizes.hidden, wide = sizes.intermediate;
  Layer layer;
  layer.qkv = matrix(base + "qkv", hidden, 3 * hidden);
  layer.attention_output = matrix(base + "attention_output", hidden, hidden);
  layer.attention_norm = norm(base + "attention_norm", hidden);
  layer.intermediate = matrix(base + "intermediate", hidden, wide);
  layer.output = matrix(base + "output", wide, hidden);
  layer.output_norm = norm(base + "output_norm", hidden);
  return layer;
}

// The entry is absent if the scores have no bias.
void Weights::read_relative_bias() {
  if (!file_.says("attention_bias")) return;
  const std::string& kind = file_.metadata("attention_bias");
  if (kind != "relative") {
    refuse("the metadata says attention_bias = '" + kind.substr(0, 80) + "'; known: relative");
  }
  const int64_t heads = sizes.heads, distances = 2 * static_cast<int64_t>(sizes.positions) - 1;
  relative_bias = as<float>(take("relative_bias", "F32", {heads, distances}));
  if (!std::all_of(relative_bias, relative_bias + heads * distances,
                   [](float x) { return std::isfinite(x); })) {
    refuse("tensor 'relative_bias' holds NaN or infinite values");
  }
}

const float* Weights::bias_of(int head) const {
  const int64_t distances = 2 * static_cast<int64_t>(sizes.positions) - 1;
  return relative_bias ? relative_bias + head * distances + sizes.positions - 1 : nullptr;
}

// The entry is absent if only the last states are pooled. The first weight is that of the
// embeddings.
void Weights::read_state_weights() {
  if (!file_.says("states")) return;
  const std::string& kind = file_.metadata("states");
  if (kind != "weighted") {
    refuse("the metadata says states = '" + kind.substr(0, 80) + "'; known: weighted");
  }
  if (pooling.early != Early::none) {
    refuse("the pooling takes states before the last, and these are weighted too");
  }
  state_weights = floats("state_weights", sizes.layers + 1);
  if (!std::all_of(state_weights, state_weights + sizes.layers + 1,
                   [](float x) { return std::isfinite(x); })) {
    refuse("tensor 'state_weights' holds NaN or infinite values");
  }
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
    const int width = number("dense", parts[0], 1, std::max(1 << 16, sizes.dimension));
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
    choice(file_, "token_weights", "relu", "relu");
    token_heads.weight = float_matrix("token_weights", sizes.hidden, 1);
  }
  if (!file_.says("token_vectors")) return;
  const std::vector<std::string> parts = split(file_.metadata("token_vectors"), ':');
  if (parts.size() != 2 || (parts[1] != "identity" && parts[1] != "unit_length")) {
    refuse("the metadata says token_vectors = '" + file_.metadata("token_vectors").substr(0, 80) +
           "'; a size with :identity or :unit_length is needed");
  }
  token_heads.unit_length = parts[1] == "unit_length";
  const int width = number("token_vectors", parts[0], 1, 1 << 16);
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
