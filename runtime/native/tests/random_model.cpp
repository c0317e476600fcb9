// SPDX-License-Identifier: Apache-2.0
#include "random_model.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <vector>

#include "kernels/kernels.h"

namespace m3e {
namespace {

// The largest code of a weight: four products with codes of 255 fit in 16 bits (dot_avx2.h).
constexpr int kLargestCode = 32;
constexpr float kWeightStep = 0x1p-7f, kWordStep = 0x1p-5f;

// Random numbers that depend on the tensor's name alone.
class Random {
 public:
  explicit Random(const std::string& name) : seed_(name.begin(), name.end()), bits_(seed_) {}
  int code() { return static_cast<int>(bits_() % (2 * kLargestCode + 1)) - kLargestCode; }

 private:
  std::seed_seq seed_;
  std::mt19937 bits_;
};

// Of values that float16 holds exactly, and that are no smaller than its smallest normal number.
uint16_t to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value == 0) return 0;
  return static_cast<uint16_t>(((bits >> 16) & 0x8000u) | ((((bits >> 23) & 255u) - 112u) << 10) |
                               ((bits >> 13) & 1023u));
}

struct Entry {
  std::string name, type, bytes;
  std::vector<int64_t> shape;
};

class Writer {
 public:
  template <class Value>
  void add(const std::string& name, const char* type, const std::vector<int64_t>& shape,
           const std::vector<Value>& values) {
    const char* bytes = reinterpret_cast<const char*>(values.data());
    entries_.push_back({name, type, std::string(bytes, values.size() * sizeof(Value)), shape});
  }

  // Larger elements come first, so that each is aligned.
  void write(const std::map<std::string, std::string>& metadata, const std::string& path) {
    const auto size = [](const Entry& entry) {
      return entry.type == "F32" ? 4 : entry.type == "F16" ? 2 : 1;
    };
    std::stable_sort(entries_.begin(), entries_.end(),
                     [&](const Entry& a, const Entry& b) { return size(a) > size(b); });
    std::ostringstream header;
    header << "{\"__metadata__\": {";
    const char* comma = "";
    for (const auto& [key, value] : metadata) {
      header << comma << '"' << key << "\": \"" << value << '"';
      comma = ", ";
    }
    header << "}";
    size_t at = 0;
    for (const Entry& entry : entries_) {
      header << ", \"" << entry.name << "\": {\"dtype\": \"" << entry.type << "\", \"shape\": [";
      comma = "";
      for (const int64_t length : entry.shape) {
        header << comma << length;
        comma = ", ";
      }
      header << "], \"data_offsets\": [" << at << ", " << at + entry.bytes.size() << "]}";
      at += entry.bytes.size();
    }
    header << "}";
    std::string text = header.str();
    text.resize((text.size() + 63) / 64 * 64 + 56, ' ');  // with its length, a multiple of 64
    std::string length;
    for (size_t i = 0; i < 8; ++i) length += static_cast<char>((text.size() >> (8 * i)) & 255u);
    std::ofstream file(path, std::ios::binary);
    file << length << text;
    for (const Entry& entry : entries_) file << entry.bytes;
  }

 private:
  std::vector<Entry> entries_;
};

class Maker {
 public:
  explicit Maker(const RandomModel& model) : model_(model) {}

  void write(const std::string& path) {
    const int hidden = number("hidden"),
              embedding = says("embedding") ? number("embedding") : hidden;
    embeddings(embedding);
    if (says("embedding")) matrix("embedding_projection", embedding, hidden);
    if (says("attention_bias")) {
      floats("relative_bias", {number("heads"), 2 * number("positions") - 1}, kWordStep);
    }
    if (says("rotary")) rotary_tables();
    for (int index = 0; index < stored_layers(); ++index) layer(index, hidden);
    if (says("final_norm")) norm("final_norm", hidden);
    if (says("states")) floats("state_weights", {number("layers") + 1}, kWordStep);
    if (says("dense")) head(hidden);
    token_heads(hidden);
    if (says("term_weights")) term_head(hidden);
    writer_.write(model_.metadata, path);
  }

 private:
  bool says(const std::string& key) const { return model_.metadata.count(key) != 0; }
  int number(const std::string& key) const { return std::stoi(model_.metadata.at(key)); }

  void layer(int index, int hidden) {
    const std::string base = "layer." + std::to_string(index) + ".";
    const int wide = number("intermediate");
    matrix(base + "qkv", hidden, 3 * hidden);
    matrix(base + "attention_output", hidden, hidden);
    if (index || !says("first_norm")) norm(base + "attention_norm", hidden);
    matrix(base + "intermediate", hidden,
           says("feed_forward") ? 2 * round_up(wide, kPanelColumns) : wide);
    matrix(base + "output", wide, hidden);
    norm(base + "output_norm", hidden);
    if (!says("query_key_norm")) return;
    norm(base + "query_norm", hidden);
    norm(base + "key_norm", hidden);
  }

  // As many as the highest number in "rotary_layers" asks for.
  void rotary_tables() {
    const std::string& tables = model_.metadata.at("rotary_layers");
    const int highest = *std::max_element(tables.begin(), tables.end()) - '0';
    floats("rotary_tables", {highest + 1, number("positions"), number("rotary")}, kWordStep);
  }

  int stored_layers() const {
    if (!says("layer_weights")) return number("layers");
    const std::string& last = model_.metadata.at("layer_weights");
    return std::stoi(last.substr(last.rfind(',') + 1)) + 1;
  }

  void floats(const std::string& name, const std::vector<int64_t>& shape, float step,
              float offset = 0) {
    Random random(name);
    int64_t count = 1;
    for (const int64_t length : shape) count *= length;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = offset + step * static_cast<float>(random.code());
    writer_.add(name, "F32", shape, values);
  }

  void norm(const std::string& name, int width) {
    floats(name + ".gamma", {width}, kWeightStep, 1);
    floats(name + ".beta", {width}, kWeightStep);
  }

  // Embeddings: the codes of `name` as the type asks for.
  void table(const std::string& name, const std::string& type, int rows, int width) {
    const std::vector<int64_t> shape{rows, width};
    Random random(name);
    std::vector<int8_t> codes(static_cast<size_t>(rows) * static_cast<size_t>(width));
    for (int8_t& code : codes) code = static_cast<int8_t>(random.code());
    if (type == "I8") {
      writer_.add(name, "I8", shape, codes);
      writer_.add(name + ".scales", "F32", {rows},
                  std::vector<float>(static_cast<size_t>(rows), kWordStep));
      return;
    }
    std::vector<float> values(codes.begin(), codes.end());
    for (float& value : values) value *= kWordStep;
    if (type == "F16") return add_halves(name, shape, values);
    if (name == "word_embeddings" && model_.invalid_word >= 0) {
      values[static_cast<size_t>(model_.invalid_word) * static_cast<size_t>(width)] =
          std::numeric_limits<float>::quiet_NaN();
    }
    writer_.add(name, "F32", shape, values);
  }

  void add_halves(const std::string& name, const std::vector<int64_t>& shape,
                  const std::vector<float>& values) {
    std::vector<uint16_t> halves(values.size());
    std::transform(values.begin(), values.end(), halves.begin(), to_half);
    writer_.add(name, "F16", shape, halves);
  }

  void embeddings(int width) {
    const bool whole = model_.type == "F32" || model_.invalid_word >= 0;
    table("word_embeddings", whole ? "F32" : model_.type, number("vocabulary"), width);
    table("position_embeddings", whole ? "F32" : "F16",
          says("position_table") ? 1 : number("positions") + (says("padding") ? 1 : 0), width);
    if (says("token_types")) {
      floats("token_type_embeddings", {number("token_types") - 1, width}, kWordStep);
    }
    if (!says("embedding_norm")) norm("embedding_norm", width);
  }

  void matrix(const std::string& name, int inputs, int outputs) {
    matrix(name, inputs, outputs, model_.type);
  }

  void matrix(const std::string& name, int inputs, int outputs, const std::string& type) {
    const int padded = round_up(outputs, kPanelColumns);
    const bool is_int8 = type == "I8";
    const int depth = is_int8 ? round_up(inputs, kInputsAlign) : inputs;
    const int together = is_int8 ? 4 : 1;  // inputs of a column that are adjacent
    std::vector<int8_t> codes(static_cast<size_t>(padded) * static_cast<size_t>(depth));
    std::vector<int> sums(static_cast<size_t>(padded));
    Random random(name);
    for (int column = 0; column < outputs; ++column) {
      const int64_t panel = column / kPanelColumns, lane = column % kPanelColumns;
      for (int input = 0; input < inputs; ++input) {
        const int64_t block = (panel * depth + input / together * together) * kPanelColumns;
        const int code = random.code();
        codes[static_cast<size_t>(block + lane * together + input % together)] =
            static_cast<int8_t>(code);
        sums[static_cast<size_t>(column)] += code;
      }
    }
    floats(name + ".bias", {padded}, kWeightStep);
    const std::vector<int64_t> shape{padded / kPanelColumns, inputs, kPanelColumns};
    if (is_int8) return add_int8(name, inputs, depth, codes, sums);
    std::vector<float> values(codes.begin(), codes.end());
    for (float& value : values) value *= kWeightStep;
    if (type == "F16") return add_halves(name, shape, values);
    writer_.add(name, "F32", shape, values);
  }

  // The smoothing doubles the inputs, and the scale is half as large.
  void add_int8(const std::string& name, int inputs, int depth, const std::vector<int8_t>& codes,
                const std::vector<int>& sums) {
    const int padded = static_cast<int>(sums.size());
    const float scale = model_.smoothing ? kWeightStep / 2 : kWeightStep;
    std::vector<float> scaled(sums.begin(), sums.end());
    for (float& sum : scaled) sum *= scale;
    writer_.add(name, "I8", {padded / kPanelColumns, depth / 4, kPanelColumns, 4}, codes);
    writer_.add(name + ".scales", "F32", {padded}, std::vector<float>(sums.size(), scale));
    writer_.add(name + ".sums", "F32", {padded}, scaled);
    if (!model_.smoothing) return;
    writer_.add(name + ".smoothing", "F32", {inputs},
                std::vector<float>(static_cast<size_t>(inputs), 2.0f));
  }

  void token_heads(int hidden) {
    if (says("token_weights")) matrix("token_weights", hidden, 1, "F32");
    if (says("token_vectors")) matrix("token_vectors", hidden, number("token_vectors"), "F32");
  }

  void term_head(int hidden) {
    matrix("term_transform", hidden, hidden);
    norm("term_norm", hidden);
    matrix("term_decoder", hidden, number("vocabulary"));
  }

  void head(int hidden) {
    const std::string& pooling = model_.metadata.at("pooling");
    int width = hidden * (1 + static_cast<int>(std::count(pooling.begin(), pooling.end(), '+')));
    std::istringstream described(model_.metadata.at("dense"));
    std::string each;
    for (int index = 0; std::getline(described, each, '+'); ++index) {
      const std::string name = "dense." + std::to_string(index),
                        what = each.substr(each.find(':') + 1);
      const int outputs = std::stoi(each);
      if (what == "layer_norm") {
        norm(name, outputs);
      } else if (what != "unit_length") {
        matrix(name, width, outputs, "F32");
      }
      width = outputs;
    }
  }

  const RandomModel& model_;
  Writer writer_;
};

}  // namespace

void write_model(const RandomModel& model, const std::string& path) { Maker(model).write(path); }

}  // namespace m3e
