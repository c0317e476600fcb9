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

namespace m3e {

struct FileEntry {
  std::string path;  // relative to the bundle, with '/' between its names
  int64_t size = 0;
  std::string sha256;  // in lower-case hex
};

struct Fidelity {
  std::string oracle;
  int64_t texts = 0;
  double mean_cosine = 0, p1_cosine = 0, min_cosine = 0, overlap_at_10 = 0;
};

struct Artifact {
  std::string name, format, precision, target;
  std::map<std::string, std::string> requirements;  // engine to version
  std::vector<FileEntry> files;                     // the first is the entry point
  Fidelity fidelity;
};

struct Route {
  std::string name;
  std::map<std::string, std::string> tasks;  // task to name of its route
};

struct Golden {
  std::vector<std::string> texts;
  std::vector<float> vectors;  // [texts, output dimension]
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
  Golden golden;

  std::vector<const FileEntry*> entries() const;  // every file that it lists

  // Throws Error(format) that says what is wrong.
  static Manifest parse(std::string_view json);
};

}  // namespace m3e
