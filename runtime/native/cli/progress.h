// SPDX-License-Identifier: Apache-2.0
// Counts on standard error, for work on a terminal that takes longer than a moment.
#pragma once

#include <chrono>
#include <cstdint>

namespace m3e_cli {

class Progress {
 public:
  Progress();
  ~Progress();
  void add(size_t count);  // texts

 private:
  using Clock = std::chrono::steady_clock;
  void show(Clock::time_point now);

  const bool is_shown_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_ = begin_ + std::chrono::milliseconds(500);
  int64_t count_ = 0;
  bool is_drawn_ = false;
};

}  // namespace m3e_cli
