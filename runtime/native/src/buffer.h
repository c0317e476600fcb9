#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace m3e {

// Zeroed memory that starts on a cache line. Growing forgets the content.
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
    void* fresh = std::aligned_alloc(kLine, bytes);
    if (!fresh) throw std::bad_alloc();
    std::memset(fresh, 0, bytes);
    std::free(data_);
    data_ = static_cast<Value*>(fresh);
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
