// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace m3e {

// Zeroed memory, aligned to a cache line. Growing discards the content.
template <class Value>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { free(); }

  void reserve(size_t count) {
    if (count <= count_) return;
    if (count > (SIZE_MAX - kLine) / sizeof(Value)) throw std::bad_array_new_length();
    const size_t bytes = (count * sizeof(Value) + kLine - 1) / kLine * kLine;
    free();  // before allocating, to keep the peak of memory low
    data_ = static_cast<Value*>(::operator new(bytes, std::align_val_t(kLine)));
    std::memset(data_, 0, bytes);
    count_ = count;
  }

  Value* data() const { return data_; }
  size_t bytes() const { return count_ * sizeof(Value); }

 private:
  static constexpr size_t kLine = 64;

  void free() {
    ::operator delete(data_, std::align_val_t(kLine));
    data_ = nullptr;
    count_ = 0;
  }

  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }

  Value* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace m3e
