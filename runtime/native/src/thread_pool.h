// SPDX-License-Identifier: Apache-2.0
// Threads shared by all encoders of the process.
#pragma once

#include <atomic>
#include <mutex>

namespace m3e {

// A lock of the whole process that is free in a child of fork(). Hold it briefly.
std::mutex& fork_safe_lock();

constexpr int kMostThreads = 1024;

// `threads`; throws Error(argument) if it is not from 1 to kMostThreads.
int checked_threads(int threads);

// The threads that work on one call. The caller has rank 0.
class Team {
 public:
  explicit Team(int size) : size_(size) {}
  int size() const { return size_; }

  // Returns when every member of the team has called it.
  void wait() {
    if (size_ > 1) meet();
  }

 private:
  void meet();

  const int size_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> round_{0};
};

// The process's workers. An idle worker spins for a moment, because the next call of a busy service
// comes soon, and then sleeps. A call uses fewer threads if other calls hold the workers; the
// results are the same. After fork() the child starts its own workers when it needs them.
class ThreadPool {
 public:
  // Uses up to `threads` - 1 workers. Workers end when the last pool is destroyed.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls body(context, team, rank) on this thread and on up to `threads` - 1 idle workers at once;
  // `body` must not throw. Returns when all are done.
  void run(int threads, void (*body)(void* context, Team& team, int rank), void* context);

  template <class Body>
  void run(int threads, Body body) {
    run(
        threads,
        [](void* context, Team& team, int rank) { (*static_cast<Body*>(context))(team, rank); },
        &body);
  }

 private:
  const int threads_;
};

}  // namespace m3e
