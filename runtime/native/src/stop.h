// SPDX-License-Identifier: Apache-2.0
// Lets a caller stop its own call.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace m3e {

// Asks the caller from time to time, in the caller's thread. The other threads of the call only
// read the answer.
class Stop {
 public:
  using Asked = int (*)(void* context);  // returns nonzero to stop

  // If `asked` is null, the call cannot be stopped.
  Stop(Asked asked, void* context) : asked_(asked), context_(context) {}

  // Whether kInterval has passed since the caller was asked. Never in other threads than the
  // caller's.
  bool due() const {
    return asked_ && std::this_thread::get_id() == caller_ && Clock::now() >= next_;
  }
  // Call it where that is true.
  void ask() {
    next_ = Clock::now() + kInterval;
    if (asked_(context_)) stopped_.store(true, std::memory_order_relaxed);
  }

  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  // Too short for a person to notice, and long enough that asking costs little.
  static constexpr std::chrono::milliseconds kInterval{100};

  const Asked asked_;
  void* const context_;
  const std::thread::id caller_ = std::this_thread::get_id();
  Clock::time_point next_ = Clock::now() + kInterval;
  std::atomic<bool> stopped_{false};
};

}  // namespace m3e
