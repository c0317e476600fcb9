// SPDX-License-Identifier: Apache-2.0
// The number of threads that compute a text together: it does not change the vector, and a short
// text takes few.
//
//   team_tests ARTIFACT
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if defined(__linux__)
#include <dirent.h>
#endif

#include "engine.h"
#include "team_size.h"

namespace m3e {
namespace {

constexpr int kThreads = 64;
// Around the bounds of tiles, of a step of memory, and of rows that a thread has to itself.
const int kLengths[] = {12, 1, 7, 33, 64, 97, 130, 193};

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}

std::vector<int32_t> make_ids(int length, int vocabulary) {
  std::vector<int32_t> ids;
  for (int i = 0; i < length; ++i) ids.push_back((i * 7919 + 11) % vocabulary);
  return ids;
}

std::vector<float> encode(const Weights& weights, ThreadPool& pool, int length, int threads) {
  const std::vector<int32_t> ids = make_ids(length, weights.sizes.vocabulary);
  // Two texts, so that threads share their heads.
  const std::vector<int64_t> offsets = {0, length / 3 + 1, length + 1};
  std::vector<int32_t> all = ids;
  all.push_back(ids.front());
  std::vector<float> vectors(2 * static_cast<size_t>(weights.sizes.dimension));
  const int texts = length > 1 ? 2 : 1;
  const Pack pack{all.data(), offsets.data(), texts, {vectors.data(), nullptr}};
  Workspace space;
  const Kernels& kernels = *find_kernels(nullptr);
  pool.run(threads, [&](Team& team, int rank) {
    require(team.size() == threads, "a pool that is idle gives all threads");
    if (rank == 0) space.reserve(weights, pack, team.size());
    team.wait();
    Forward(weights, kernels, pack, space, team, rank).run();
  });
  return vectors;
}

void every_size_gives_the_same(const Weights& weights) {
  ThreadPool pool(kThreads);
  std::vector<std::vector<float>> expected;
  for (const int length : kLengths) expected.push_back(encode(weights, pool, length, 1));
  const size_t lengths = expected.size();
  const auto check = [&](size_t which, int threads) {
    const std::vector<float> found = encode(weights, pool, kLengths[which], threads);
    require(std::memcmp(found.data(), expected[which].data(), found.size() * sizeof(float)) == 0,
            std::to_string(kLengths[which]) + " tokens get other bytes from " +
                std::to_string(threads) + " threads");
  };
  for (size_t which = 0; which < lengths; ++which) {
    for (int threads = 2; threads <= 5; ++threads) check(which, threads);
  }
  // Threads that wait for one without a processor take long: of these sizes, one length each.
  for (int threads = 6; threads <= kThreads; ++threads) {
    check(static_cast<size_t>(threads) % lengths, threads);
  }
}

void sizes_follow_the_work(const Weights& weights) {
  for (const int threads : {1, 2, 3, 64, 1024}) {
    int before = 1;
    for (int rows = 1; rows <= 512; ++rows) {
      const int size = team_size(weights, rows, threads);
      require(size >= before && size <= threads, "more rows take more threads, up to the limit");
      before = size;
    }
  }
  require(team_size(weights, 1, 1024) <= team_size(weights, 512, 1024) / 2,
          "one token takes less than half of the threads of 512");
  require(team_size(weights, 12, kThreads) <= kThreads / 4, "a short query takes few threads");
}

#if defined(__linux__)
int threads_of_this_process() {
  int count = 0;
  DIR* const tasks = opendir("/proc/self/task");
  while (const dirent* each = readdir(tasks)) count += each->d_name[0] != '.';
  closedir(tasks);
  return count;
}

// Workers start when a call takes them.
void a_short_query_starts_few_workers(const char* path, const Weights& weights) {
  const int before = threads_of_this_process();
  Engine engine(path, kThreads, nullptr);
  const std::vector<int32_t> ids = make_ids(12, weights.sizes.vocabulary);
  const int64_t offsets[2] = {0, 12};
  std::vector<float> vector(static_cast<size_t>(weights.sizes.dimension));
  Stop never(nullptr, nullptr);
  for (int i = 0; i < 10; ++i) {
    engine.encode({ids.data(), offsets, 1}, {vector.data(), nullptr}, never);
  }
  const int most = team_size(weights, 12, with_a_processor_each(kThreads));
  require(threads_of_this_process() - before <= most - 1, "a short query starts few workers");
}
#endif

}  // namespace
}  // namespace m3e

int main(int count, char** arguments) {
  using namespace m3e;
  if (count != 2) {
    std::fprintf(stderr, "usage: %s ARTIFACT\n", arguments[0]);
    return 2;
  }
  const Weights weights(arguments[1]);
  sizes_follow_the_work(weights);
#if defined(__linux__)
  a_short_query_starts_few_workers(arguments[1], weights);
#endif
  every_size_gives_the_same(weights);
  std::printf("12 tokens take %d of %d threads, 128 take %d; every size gives the same bytes\n",
              team_size(weights, 12, kThreads), kThreads, team_size(weights, 128, kThreads));
  return 0;
}
