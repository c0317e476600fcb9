// SPDX-License-Identifier: Apache-2.0
#include "thread_pool.h"

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__APPLE__)
#include <dlfcn.h>
#endif

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "error.h"

namespace m3e {
namespace {

using Clock = std::chrono::steady_clock;

// As long as a caller needs between two calls. More would take the core from the rest of a service.
constexpr auto kAwake = std::chrono::microseconds(200);
// Some tens of microseconds. After that, another thread needs the core.
constexpr int kSpinsBeforeYield = 4000;
constexpr int kSpinsBetweenLooks = 64;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
  __asm__ volatile("yield");
#endif
}

template <class Done>
void wait_for(Done done) {
  for (int spins = 0; !done(); ++spins) {
    if (spins < kSpinsBeforeYield) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

struct Job {
  void (*body)(void*, Team&, int);
  void* context;
  Team* team;
  std::atomic<int> remaining;
};

class Worker {
 public:
  Worker() : thread_([this] { loop(); }) {}

  ~Worker() {
    give(nullptr, 0, State::stop);
    thread_.join();
  }

  bool idle() const { return state_.load(std::memory_order_acquire) == State::idle; }
  void start(Job* job, int rank) { give(job, rank, State::ready); }

 private:
  enum class State { idle, ready, stop };

  void give(Job* job, int rank, State state) {
    job_ = job;
    rank_ = rank;
    state_.store(state);
    if (asleep_.load()) {
      const std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_one();
    }
  }

  void loop() {
    while (wait() != State::stop) {
      Job* job = job_;
      job->body(job->context, *job->team, rank_);
      state_.store(State::idle, std::memory_order_release);
      job->remaining.fetch_sub(1, std::memory_order_release);  // `job` is invalid from here on
    }
  }

  State wait() {
    const auto called = [this] { return state_.load() != State::idle; };
    const auto until = Clock::now() + kAwake;
    do {
      for (int i = 0; i < kSpinsBetweenLooks; ++i) {
        if (called()) return state_.load();
        relax();
      }
    } while (Clock::now() < until);
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.store(true);
    wake_.wait(lock, called);
    asleep_.store(false);
    return state_.load();
  }

  std::atomic<State> state_{State::idle};
  std::atomic<bool> asleep_{false};
  Job* job_ = nullptr;
  int rank_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;  // last, so that the thread starts after the other members are initialized
};

// Guarded by the fork-safe lock.
struct Workers {
  std::mutex lock;
  std::vector<std::unique_ptr<Worker>> list;
  int users = 0;
};

#if defined(_WIN32)
struct BlockedSignals {};
#else
// While it exists, this thread, and those that it starts, get no signal but those of its own
// faults. Signals are for the threads of the program, which expects them.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
      sigdelset(&blocked, fault);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};
#endif

// Returns false if the system allows no more threads; calls use fewer then.
bool add_worker(std::vector<std::unique_ptr<Worker>>& list) {
  try {
    [[maybe_unused]] const BlockedSignals blocked;
    list.push_back(std::make_unique<Worker>());
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

Workers& workers();

#if defined(_WIN32)
void survive_fork() {}
#else
#if defined(__APPLE__)
// macOS keeps the handlers of fork() of a library that was unloaded, and calls them.
void stay_loaded() {
  Dl_info library;
  if (dladdr(reinterpret_cast<void*>(&stay_loaded), &library)) {
    dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  }
}
#else
void stay_loaded() {}
#endif

// The lock is held across fork(), so that it is free and the list is consistent in the child. There
// the threads do not exist: they are forgotten, without touching their locks.
void survive_fork() {
  stay_loaded();
  pthread_atfork([] { workers().lock.lock(); }, [] { workers().lock.unlock(); },
                 [] {
                   for (auto& worker : workers().list) (void)worker.release();
                   workers().list.clear();
                   workers().lock.unlock();
                 });
}
#endif

Workers& workers() {
  static Workers* const all = [] {
    survive_fork();
    return new Workers;  // never destroyed: a worker may wait during exit()
  }();
  return *all;
}

}  // namespace

std::mutex& fork_safe_lock() { return workers().lock; }

void Team::meet() {
  const int round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  wait_for([&] { return round_.load(std::memory_order_acquire) != round; });
}

int checked_threads(int threads) {
  if (threads >= 1 && threads <= kMostThreads) return threads;
  throw Error(ErrorKind::argument, std::to_string(threads) + " threads: from 1 to " +
                                       std::to_string(kMostThreads) + " are possible");
}

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  const std::lock_guard<std::mutex> lock(fork_safe_lock());
  ++workers().users;
}

ThreadPool::~ThreadPool() {
  std::vector<std::unique_ptr<Worker>> ended;  // joined after the lock is free
  const std::lock_guard<std::mutex> lock(fork_safe_lock());
  if (--workers().users == 0) ended.swap(workers().list);
}

void ThreadPool::run(int threads, void (*body)(void*, Team&, int), void* context) {
  std::vector<Worker*> helpers;
  Job job{body, context, nullptr, {0}};
  std::unique_lock<std::mutex> lock(fork_safe_lock());
  auto& list = workers().list;
  const int wanted = (threads < threads_ ? threads : threads_) - 1;
  for (size_t i = 0; static_cast<int>(helpers.size()) < wanted; ++i) {
    if (i == list.size()) {
      if (static_cast<int>(list.size()) >= threads_ - 1 || !add_worker(list)) break;
    }
    if (list[i]->idle()) helpers.push_back(list[i].get());
  }
  Team team(static_cast<int>(helpers.size()) + 1);
  job.team = &team;
  job.remaining.store(team.size() - 1, std::memory_order_relaxed);
  for (size_t i = 0; i < helpers.size(); ++i) helpers[i]->start(&job, static_cast<int>(i) + 1);
  lock.unlock();
  body(context, team, 0);
  wait_for([&] { return job.remaining.load(std::memory_order_acquire) == 0; });
}

}  // namespace m3e
