// SPDX-License-Identifier: Apache-2.0
// manifest.json, the contract between the exporter and those who read a bundle. The reference is
// m3e_runtime/manifest.py.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fidelity.h"

namespace m3e {

struct FileEntry {
  std::string path;  // relative to the bundle, with '/' between its names
  int64_t size = 0;
  std::string sha256;  // in lower-case hex
};

struct Artifact {
  std::string name, format, precision, target;
  std::map<std::string, std::string> requirements;  // engine to version
  std::vector<FileEntry> files;                     // the first is the entry point
  // The one that fits the bundle is there.
  std::optional<Fidelity> fidelity;
  std::optional<ScoreFidelity> score_fidelity;
};

struct Route {
  std::string name;
  std::map<std::string, std::string> tasks;  // task to name of its route
};

// Of a reranker or classifier, which gives a logit for each label.
struct Classification {
  std::vector<std::string> labels;
  bool is_sigmoid = false;   // whether scores are sigmoids of logits; else they are the logits
  bool token_types = false;  // whether the artifacts take token types
};

struct Golden {
  std::vector<std::string> texts;
  std::vector<std::string> passages;  // as many, for a model of pairs; else none
  std::vector<float> vectors;         // [texts, output dimension]; logits with a classification
  std::string prompt;
};

struct Manifest {
  std::string source, revision, licence, pooling, similarity;
  int32_t dimension = 0;
  int32_t output_dimension = 0;  // dimensions that are kept by default
  bool normalize = false;
  bool include_prompt = true;  // whether a prompt's tokens are pooled
  FileEntry tokenizer;
  int32_t max_length = 0;  // tokens of a text, with special tokens
  std::map<std::string, std::string> prompts;
  std::optional<std::string> default_prompt_name;
  std::vector<Artifact> artifacts;
  std::vector<FileEntry> files;
  std::optional<Route> route;
  std::optional<Classification> classification;  // else the artifacts give vectors of texts
  bool gives_dense = true;  // whether these mean anything; if not, the vectors of tokens do
  Golden golden;

  std::vector<const FileEntry*> entries() const;  // every file that it lists

  // Throws Error(format) that says what is wrong.
  static Manifest parse(std::string_view json);
};

}  // namespace m3e
