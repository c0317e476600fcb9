// SPDX-License-Identifier: Apache-2.0
// Predicts the time of a forward pass by a team of more threads than this machine has cores.
//
//   teams ARTIFACT INSTRUCTION_SET|- SIZES TOKENS [TOKENS …]     SIZES: 1,2,4 …
//
// Runs the engine's own forward pass. One member of the team computes at a time, alone on its core,
// up to where it would wait for the others. So a phase between two waits takes as long as its
// slowest member. Prints JSON: for each number of tokens and each size of team the sum of these
// times, the number of waits, and the size that the engine would choose. The prediction leaves out
// that cores share memory and power, and that the caches of many cores hold more.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "one_text.h"
#include "team_size.h"

namespace m3e {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr int kLargestTeam = 256;

// Whose turn it is, and how long each member's turns took: the shortest of all rounds, since
// whatever else runs on the machine only adds to it.
class Turns {
 public:
  explicit Turns(int members) : members_(members), changed_(static_cast<size_t>(members)) {}

  void begin_round() {
    turn_ = 0;
    at_ = 0;
  }
  void enter(int rank) {
    std::unique_lock<std::mutex> lock(lock_);
    changed_[static_cast<size_t>(rank)].wait(lock, [&] { return turn_ == rank; });
    start_ = Clock::now();
  }
  void leave() {
    const double took = std::chrono::duration<double>(Clock::now() - start_).count();
    const std::lock_guard<std::mutex> lock(lock_);
    if (at_ == seconds_.size()) seconds_.push_back(took);
    seconds_[at_] = std::min(seconds_[at_], took);
    ++at_;
    turn_ = (turn_ + 1) % members_;
    changed_[static_cast<size_t>(turn_)].notify_one();
  }
  int waits() const { return static_cast<int>(seconds_.size()) / members_; }
  // The sum of each phase's slowest member.
  double seconds() const {
    double total = 0;
    for (auto phase = seconds_.begin(); phase != seconds_.end(); phase += members_) {
      total += *std::max_element(phase, phase + members_);
    }
    return total;
  }

 private:
  const int members_;
  std::mutex lock_;
  std::vector<std::condition_variable> changed_;  // of each member
  Clock::time_point start_;
  int turn_ = 0;
  size_t at_ = 0;
  std::vector<double> seconds_;  // [phases][members]
};

Turns* turns;
thread_local int own_rank = 0;

struct Prediction {
  double seconds;
  int waits;
};

Prediction predict(const Weights& weights, const Kernels& kernels, const Pack& pack, int members) {
  Workspace space;
  space.reserve(weights, pack, members);
  Turns own(members);
  turns = &own;
  for (int round = 0; round < kRounds; ++round) {
    Team team(members);
    own.begin_round();
    std::vector<std::thread> threads;
    for (int rank = 0; rank < members; ++rank) {
      threads.emplace_back([&, rank] {
        own_rank = rank;
        own.enter(rank);
        Forward(weights, kernels, pack, space, team, rank).run();
        own.leave();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  return {own.seconds(), own.waits()};
}

void print_predictions(const Weights& weights, const Kernels& kernels,
                       const std::vector<int>& sizes, int tokens) {
  OneText text(weights, tokens);
  const Pack pack = text.pack();
  std::printf("{\"tokens\": %d, \"chosen\": %d, \"teams\": [", tokens,
              team_size(weights, tokens, sizes.back()));
  const char* comma = "";
  for (const int size : sizes) {
    const Prediction found = predict(weights, kernels, pack, size);
    std::printf("%s\n  {\"size\": %d, \"ms\": %.4f, \"waits\": %d}", comma, size,
                1e3 * found.seconds, found.waits);
    comma = ",";
  }
  std::printf("]}");
}

std::vector<int> read_sizes(const char* text) {
  std::vector<int> sizes;
  for (char* end = nullptr; *text; text = *end ? end + 1 : end) {
    const long size = std::strtol(text, &end, 10);
    if (end == text || size < 1 || size > kLargestTeam) return {};
    sizes.push_back(static_cast<int>(size));
  }
  return sizes;
}

int run(int count, char** arguments) {
  const std::vector<int> sizes = count < 5 ? std::vector<int>{} : read_sizes(arguments[3]);
  if (sizes.empty()) {
    std::fprintf(stderr, "usage: %s ARTIFACT INSTRUCTION_SET|- SIZES TOKENS [TOKENS ...]\n",
                 arguments[0]);
    return 2;
  }
  const Weights weights(arguments[1]);
  const Kernels* kernels = kernels_named(arguments[2]);
  if (!kernels) return 2;
  std::printf("{\"instruction_set\": \"%s\", \"passes\": [", kernels->name);
  for (int i = 4; i < count; ++i) {
    std::printf("%s\n", i > 4 ? "," : "");
    print_predictions(weights, *kernels, sizes, std::atoi(arguments[i]));
  }
  std::printf("]}\n");
  return 0;
}

}  // namespace

// In place of the one in thread_pool.cpp: members take turns.
void Team::meet() {
  turns->leave();
  turns->enter(own_rank);
}

}  // namespace m3e

int main(int count, char** arguments) {
  try {
    return m3e::run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "teams: %s\n", error.what());
    return 1;
  }
}
