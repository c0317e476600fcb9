// SPDX-License-Identifier: Apache-2.0
// Signals are for the threads of the program: no worker takes one.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "thread_pool.h"

namespace {

std::atomic<bool> taken{false};

// Whether a worker took a signal that the calling thread blocks.
bool workers_take(int signal_number) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal_number);
  pthread_sigmask(SIG_BLOCK, &one, nullptr);
  kill(getpid(), signal_number);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  sigset_t pending;
  sigpending(&pending);
  return taken || sigismember(&pending, signal_number) != 1;
}

}  // namespace

int main() {
  struct sigaction handler = {};
  handler.sa_handler = [](int) { taken = true; };
  sigaction(SIGUSR1, &handler, nullptr);
  m3e::ThreadPool pool(4);
  std::atomic<int> ranks{0};
  pool.run(4, [&](m3e::Team&, int) { ++ranks; });
  if (ranks != 4) {
    std::printf("FAILED: %d of 4 threads\n", ranks.load());
    return 1;
  }
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  if (sigismember(&mask, SIGUSR1)) {
    std::printf("FAILED: the caller's mask has changed\n");
    return 1;
  }
  if (workers_take(SIGUSR1)) {
    std::printf("FAILED: a worker took a signal\n");
    return 1;
  }
  std::printf("signals: passed\n");
  return 0;
}
