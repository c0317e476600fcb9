// A caller's way to end its own call before it is done.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace m3e {

// Asks the caller now and then, in the caller's own thread. The other threads of the call only read
// the answer.
class Stop {
 public:
  using Asked = int (*)(void* context);  // nonzero: stop

  // `asked` may be null: then nothing stops the call.
  Stop(Asked asked, void* context) : asked_(asked), context_(context) {}

  // Asks, if the last answer is some time ago. Does nothing in other threads than the caller's.
  void look() {
    if (!asked_ || std::this_thread::get_id() != caller_) return;
    const Clock::time_point now = Clock::now();
    if (now < next_) return;
    next_ = now + kInterval;
    if (asked_(context_)) stopped_.store(true, std::memory_order_relaxed);
  }

  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  // A person does not notice the wait, and an answer that takes milliseconds costs few percent.
  static constexpr std::chrono::milliseconds kInterval{100};

  const Asked asked_;
  void* const context_;
  const std::thread::id caller_ = std::this_thread::get_id();
  Clock::time_point next_ = Clock::now() + kInterval;
  std::atomic<bool> stopped_{false};
};

}  // namespace m3e
