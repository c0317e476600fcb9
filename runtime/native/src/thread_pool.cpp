#include "thread_pool.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

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
#elif defined(__aarch64__)
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

// Returns false if the system allows no more threads; calls use fewer then.
bool add_worker(std::vector<std::unique_ptr<Worker>>& list) {
  try {
    list.push_back(std::make_unique<Worker>());
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

// The lock is held across fork(), so that it is free and the list is consistent in the child.
Workers& workers() {
  static Workers* const all = [] {
    pthread_atfork([] { workers().lock.lock(); }, [] { workers().lock.unlock(); },
                   [] {
                     // The threads exist in the parent only: forget them, without touching their
                     // locks.
                     for (auto& worker : workers().list) (void)worker.release();
                     workers().list.clear();
                     workers().lock.unlock();
                   });
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
