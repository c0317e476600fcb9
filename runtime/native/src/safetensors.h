// SPDX-License-Identifier: Apache-2.0
// A safetensors file (https://github.com/huggingface/safetensors#format), mapped into memory.
// The file is not trusted: every offset, shape and name is checked before a tensor is returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "file.h"

namespace m3e {

struct Tensor {
  std::string type;  // safetensors' name: F32, F16, I8 …
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

class SafeTensors {
 public:
  explicit SafeTensors(const std::string& path);

  // Throws Error if there is no such tensor or entry.
  const Tensor& tensor(const std::string& name) const;
  const std::string& metadata(const std::string& key) const;
  bool says(const std::string& key) const { return metadata_.count(key) != 0; }
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  size_t size() const { return tensors_.size(); }

 private:
  void check_layout(size_t data_begin) const;

  MappedFile file_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace m3e
