// The weights of an encoder, as views into a mapped file.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "safetensors.h"

namespace m3e {

struct Sizes {
  int layers, hidden, heads, intermediate, vocabulary, positions;
  int head_size() const { return hidden / heads; }
};

// Either kind; `int8.panels` is null for a float matrix.
struct Matrix {
  Int8Matrix int8{};
  FloatMatrix floats{};
  bool is_int8() const { return int8.panels != nullptr; }
  int outputs() const { return is_int8() ? int8.outputs : floats.outputs; }
  int panels() const { return (outputs() + kPanelColumns - 1) / kPanelColumns; }
};

struct Layer {
  Matrix qkv, attention_output, intermediate, output;
  NormWeights attention_norm, output_norm;
};

class Weights {
 public:
  // Throws Error for a file that is not exactly what its metadata says.
  explicit Weights(const std::string& path);

  Sizes sizes;
  bool pool_first, normalize;
  EmbeddingTable embeddings{};
  NormWeights embedding_norm;
  std::vector<Layer> layers;

 private:
  void read_metadata();
  void read_embeddings();
  Matrix matrix(const std::string& name, int inputs, int outputs);
  NormWeights norm(const std::string& name);
  const float* floats(const std::string& name, int64_t count);
  const Tensor& take(const std::string& name, const char* type, const std::vector<int64_t>& shape);

  SafeTensors file_;
  size_t used_ = 0;
  float epsilon_ = 0;
};

}  // namespace m3e
