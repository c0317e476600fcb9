// SPDX-License-Identifier: Apache-2.0
// The layers of an encoder in native weights.
#include "error.h"
#include "metadata.h"
#include "weights.h"

namespace m3e {

void Weights::read_layers() {
  read_stored_layers();
  read_spans();
  read_rotary();
  if (metadata_says(file_, "final_norm", "yes")) final_norm = norm("final_norm", sizes.hidden);
}

// "0,0,1" in the metadata means that the first two of three layers share their weights. The entry
// is absent if no layers share weights.
void Weights::read_stored_layers() {
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
    // An earlier one, or the next.
    const int at = metadata_number("layer_weights", each, 0, count);
    if (at == count) stored.push_back(read_layer(at));
    layers.push_back(stored[static_cast<size_t>(at)]);
  }
}

Layer Weights::read_layer(int index) {
  const std::string base = "layer." + std::to_string(index) + ".";
  const int hidden = sizes.hidden;
  Layer layer{};
  layer.qkv = matrix(base + "qkv", hidden, 3 * hidden);
  layer.attention_output = matrix(base + "attention_output", hidden, hidden);
  if (index || !lacks_first_norm_) layer.attention_norm = norm(base + "attention_norm", hidden);
  if (norms_twice_) layer.second_norm = norm(base + "second_norm", hidden);
  layer.intermediate = matrix(base + "intermediate", hidden, sizes.wide_columns());
  layer.output = matrix(base + "output", sizes.intermediate, hidden);
  layer.output_norm = norm(base + "output_norm", hidden);
  if (norms_queries_) {
    layer.query_norm = norm(base + "query_norm", hidden);
    layer.key_norm = norm(base + "key_norm", hidden);
  }
  return layer;
}

// "-:-,64:64" means that the first of two layers sees all keys, and a query of the second one 64
// before it and 64 after it. The entry is absent if all layers see all keys.
void Weights::read_spans() {
  if (!file_.says("attention_spans")) return;
  const std::vector<std::string> described = split(file_.metadata("attention_spans"), ',');
  if (described.size() != layers.size()) {
    refuse("attention_spans names another number of layers");
  }
  const auto reach = [](const std::string& text) {
    return text == "-" ? kUnlimited : metadata_number("attention_spans", text, 0, kUnlimited - 1);
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::vector<std::string> parts = split(described[i], ':');
    if (parts.size() != 2) {
      refuse("the metadata says attention_spans = '" + described[i].substr(0, 80) +
             "', not before:after");
    }
    layers[i].span = {reach(parts[0]), reach(parts[1])};
  }
}

// "rotary" says how many columns of a head are turned; "rotary_layers" names the table of each
// layer, as in "0,1,1", or "-" for a layer that turns nothing. Both are absent if none does.
void Weights::read_rotary() {
  if (!file_.says("rotary")) return;
  rotary_size = metadata_number("rotary", file_.metadata("rotary"), 2, sizes.head_size());
  if (rotary_size % 2) refuse("the metadata says rotary = an odd number of columns");
  const std::vector<std::string> tables = split(file_.metadata("rotary_layers"), ',');
  if (tables.size() != layers.size()) refuse("rotary_layers names another number of layers");
  const Tensor& stored = file_.tensor("rotary_tables");
  const int64_t count = stored.shape.empty() ? 0 : stored.shape[0];
  if (count < 1 || count > sizes.layers) refuse("rotary_tables holds no table for each layer");
  const float* values = finite("rotary_tables", {count, sizes.positions, rotary_size});
  for (size_t i = 0; i < layers.size(); ++i) {
    if (tables[i] == "-") continue;
    const int64_t table =
        metadata_number("rotary_layers", tables[i], 0, static_cast<int>(count) - 1);
    layers[i].rotary = values + table * sizes.positions * rotary_size;
  }
}

}  // namespace m3e
