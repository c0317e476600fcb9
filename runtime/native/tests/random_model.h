// SPDX-License-Identifier: Apache-2.0
// Native artifacts with random weights, small enough for sanitizers and emulators.
#pragma once

#include <map>
#include <string>

namespace m3e {

struct RandomModel {
  std::string type = "I8";  // of the matrices and the word embeddings: I8, F16 or F32
  // Entries of the metadata. Entries that tensors belong to add these tensors.
  std::map<std::string, std::string> metadata;
  bool smoothing = false;  // of the int8 matrices
  int invalid_word = -1;   // a token id whose embedding is NaN; of F32 embeddings
};

// Widths that are no multiples of a vector's 16, and a head size that is none either.
inline std::map<std::string, std::string> small_sizes() {
  return {{"format", "m3e-native"}, {"version", "3"},       {"layers", "2"},
          {"hidden", "72"},         {"heads", "3"},         {"intermediate", "104"},
          {"vocabulary", "100"},    {"positions", "300"},   {"pooling", "mean"},
          {"normalize", "true"},    {"activation", "gelu"}, {"norm_eps", "1e-12"}};
}

// The weights are the same for every type: codes of 8 bits, times a power of two.
void write_model(const RandomModel& model, const std::string& path);

}  // namespace m3e
