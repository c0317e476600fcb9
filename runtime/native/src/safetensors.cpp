// SPDX-License-Identifier: Apache-2.0
#include "safetensors.h"

#include <algorithm>

#include "error.h"
#include "json_text.h"

// Tensors are used where they lie in the file. It would be wrong to guess that anything else works.
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "m3e needs a little-endian processor: its weights are little-endian and mapped into memory"
#endif

namespace m3e {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kHeaderLimit = 16u << 20;  // thousands of times the size that an encoder needs
constexpr const char* kMetadata = "__metadata__";

size_t element_size(const std::string& type) {
  static const std::map<std::string, size_t> sizes = {
      {"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
      {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"U16", 2},  {"U32", 4}, {"U64", 8},
  };
  const auto found = sizes.find(type);
  if (found == sizes.end()) refuse("unknown element type '" + type + "'");
  return found->second;
}

// Size of a tensor of this shape in bytes; refuses a size that overflows.
uint64_t bytes_of(const Tensor& tensor, const std::string& name) {
  uint64_t bytes = element_size(tensor.type);
  for (const int64_t length : tensor.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(length), &bytes)) {
      refuse("tensor '" + name + "' has an impossible shape");
    }
  }
  return bytes;
}

// The largest whole number that every JSON reader represents exactly.
constexpr uint64_t kMostWhole = uint64_t{1} << 53;

int64_t whole_number(JsonText& json) {
  const JsonNumber number = json.number();
  if (!number.natural || number.whole > kMostWhole) refuse("the header has an impossible number");
  return static_cast<int64_t>(number.whole);
}

}  // namespace

SafeTensors::SafeTensors(const std::string& path) : file_(path) {
  if (file_.size() < kLengthBytes) refuse("the file is too short for a safetensors header");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint64_t>(file_.data()[i]) << (8 * i);
  }
  if (length > kHeaderLimit || length > file_.size() - kLengthBytes) {
    refuse("the header is longer than the file, or than any header needs to be");
  }
  const size_t data_begin = kLengthBytes + static_cast<size_t>(length);
  const size_t data_size = file_.size() - data_begin;
  const char* text = reinterpret_cast<const char*>(file_.data()) + kLengthBytes;
  JsonText json(std::string_view(text, static_cast<size_t>(length)));
  json.object([&](std::string_view read) {
    const std::string name(read);  // the next string ends `read`
    if (name == kMetadata) {
      json.object([&](std::string_view key) {
        std::string& value = metadata_[std::string(key)];
        value = json.string();
      });
      return;
    }
    Tensor tensor;
    std::vector<int64_t> offsets;
    json.object([&](std::string_view key) {
      if (key == "dtype") {
        tensor.type = json.string();
      } else if (key == "shape") {
        json.array([&] { tensor.shape.push_back(whole_number(json)); });
      } else if (key == "data_offsets") {
        json.array([&] { offsets.push_back(whole_number(json)); });
      } else {
        refuse("tensor '" + name + "' has an unknown property '" + std::string(key) + "'");
      }
    });
    if (offsets.size() != 2 || offsets[0] > offsets[1] ||
        static_cast<uint64_t>(offsets[1]) > data_size) {
      refuse("tensor '" + name + "' does not lie within the file");
    }
    tensor.bytes = static_cast<size_t>(offsets[1] - offsets[0]);
    tensor.data = file_.data() + data_begin + offsets[0];
    if (bytes_of(tensor, name) != tensor.bytes) {
      refuse("tensor '" + name + "' has another size than its shape");
    }
    if (!tensors_.emplace(name, tensor).second) refuse("tensor '" + name + "' is there twice");
  });
  json.end();
  check_layout(data_begin);
}

// The format forbids overlaps and holes. Elements must also be aligned, to be read in place.
void SafeTensors::check_layout(size_t data_begin) const {
  std::vector<const Tensor*> ordered;
  for (const auto& [name, tensor] : tensors_) {
    if (reinterpret_cast<uintptr_t>(tensor.data) % element_size(tensor.type)) {
      refuse("tensor '" + name + "' is not aligned");
    }
    ordered.push_back(&tensor);
  }
  std::sort(ordered.begin(), ordered.end(), [](const Tensor* a, const Tensor* b) {
    return a->data != b->data ? a->data < b->data : a->bytes < b->bytes;
  });
  const uint8_t* expected = file_.data() + data_begin;
  for (const Tensor* tensor : ordered) {
    if (tensor->data != expected) refuse("tensors overlap or leave holes");
    expected += tensor->bytes;
  }
  if (expected != file_.data() + file_.size()) refuse("something follows the last tensor");
}

const Tensor& SafeTensors::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) refuse("tensor '" + name + "' is missing");
  return found->second;
}

const std::string& SafeTensors::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) refuse("the metadata has no '" + key + "'");
  return found->second;
}

}  // namespace m3e
