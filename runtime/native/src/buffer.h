#pragma once

#include <cstddef>
#include <cstdlib>
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
  ~Buffer() { std::free(data_); }

  void reserve(size_t count) {
    if (count <= count_) return;
    constexpr size_t kLine = 64;
    const size_t bytes = (count * sizeof(Value) + kLine - 1) / kLine * kLine;
    std::free(data_);  // before allocating, to keep the peak of memory low
    count_ = 0;
    data_ = static_cast<Value*>(std::aligned_alloc(kLine, bytes));
    if (!data_) throw std::bad_alloc();
    std::memset(data_, 0, bytes);
    count_ = count;
  }

  Value* data() const { return data_; }
  size_t bytes() const { return count_ * sizeof(Value); }

 private:
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }

  Value* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace m3e
