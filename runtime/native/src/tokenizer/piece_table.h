// SPDX-License-Identifier: Apache-2.0
// Many short texts in one block of memory, numbered as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace m3e {

class PieceTable {
 public:
  void add(std::string_view piece) {
    if (text_.size() + piece.size() > kMost) refuse("a vocabulary of more than 2 GiB");
    text_.append(piece);
    ends_.push_back(static_cast<uint32_t>(text_.size()));
  }
  void finish() {
    text_.shrink_to_fit();
    ends_.shrink_to_fit();
  }
  size_t size() const { return ends_.size() - 1; }
  std::string_view operator[](size_t index) const {
    return {text_.data() + ends_[index], ends_[index + 1] - ends_[index]};
  }

 private:
  static constexpr size_t kMost = 0x7FFFFFFE;
  std::string text_;
  std::vector<uint32_t> ends_{0};
};

}  // namespace m3e
