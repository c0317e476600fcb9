// SPDX-License-Identifier: Apache-2.0
// A vector that begins on the stack: words are short, and most need no memory of their own.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace m3e {

template <class T, size_t kShort>
class ShortVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  ShortVector() : data_(reinterpret_cast<T*>(short_)) {}
  ShortVector(const ShortVector&) = delete;

  void push_back(const T& value) {
    if (size_ == capacity_) grow(2 * capacity_);
    data_[size_++] = value;
  }
  void pop_back() { --size_; }
  void assign(size_t size, const T& value) {
    if (size > capacity_) grow(size);
    for (size_ = 0; size_ < size;) data_[size_++] = value;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  T& operator[](size_t index) { return data_[index]; }

 private:
  void grow(size_t capacity) {
    std::unique_ptr<T[]> longer(new T[capacity]);
    for (size_t i = 0; i < size_; ++i) longer[i] = data_[i];
    long_ = std::move(longer);
    data_ = long_.get();
    capacity_ = capacity;
  }

  alignas(T) unsigned char short_[kShort * sizeof(T)];
  std::unique_ptr<T[]> long_;
  T* data_;
  size_t size_ = 0;
  size_t capacity_ = kShort;
};

}  // namespace m3e
