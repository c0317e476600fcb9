// SPDX-License-Identifier: Apache-2.0
// Of the emulated tiles: products of every sign, small configurations, and misuse, which ends the
// program.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "emulated_tiles.h"

namespace {

using namespace m3e::emulated;

struct Config {
  uint8_t palette = 1, rest[15] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  void set(int tile, int count, int bytes) {
    rows[tile] = static_cast<uint8_t>(count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

// Tile 0 has the sums of products of 5 rows × 12 bytes of tile 1 with 3 rows × 28 bytes of tile 2.
constexpr int kRows = 5, kInner = 12, kColumns = 7;
Config small() {
  Config config;
  config.set(0, kRows, 4 * kColumns);
  config.set(1, kRows, kInner);
  config.set(2, kInner / 4, 4 * kColumns);
  return config;
}

void require(bool right, const char* what) {
  if (right) return;
  std::printf("FAILED: %s\n", what);
  std::exit(1);
}

int value(uint8_t byte, Sign sign) { return sign == Sign::both ? static_cast<int8_t>(byte) : byte; }

void test_products(Sign left_sign, Sign right_sign) {
  std::mt19937 random(3);
  uint8_t left[kRows][20], right[kInner / 4][40];  // wider than the tiles
  int32_t sums[kRows][10], before[kRows][10];
  for (auto& row : left) {
    for (uint8_t& byte : row) byte = static_cast<uint8_t>(random());
  }
  for (auto& row : right) {
    for (uint8_t& byte : row) byte = static_cast<uint8_t>(random());
  }
  for (auto& row : sums) {
    for (int32_t& sum : row) sum = static_cast<int32_t>(random());
  }
  std::memcpy(before, sums, sizeof sums);
  load(0, sums, sizeof sums[0]);
  load(1, left, sizeof left[0]);
  load(2, right, sizeof right[0]);
  multiply(0, 1, left_sign, 2, right_sign);
  store(0, sums, sizeof sums[0]);
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < 10; ++c) {
      int64_t expected = before[r][c];
      for (int k = 0; c < kColumns && k < kInner; ++k) {
        expected += value(left[r][k], left_sign) * value(right[k / 4][4 * c + k % 4], right_sign);
      }
      require(sums[r][c] == static_cast<int32_t>(static_cast<uint32_t>(expected)), "a product");
    }
  }
}

// Calls body() in a child, which it must end by abort().
template <class Body>
void require_end(const char* what, Body body) {
  const pid_t child = fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  require(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, what);
}

void test_misuse() {
  const Config config = small();
  uint8_t memory[1024] = {};
  require_end("a tile without a configuration", [] { zero(0); });
  require_end("a tile after the release", [&] {
    load_config(&config);
    release();
    load(0, memory, 64);
  });
  const auto configured_end = [&](const char* what, auto body) {
    require_end(what, [&] {
      load_config(&config);
      body();
    });
  };
  configured_end("a tile that the configuration leaves out", [&] { store(3, memory, 64); });
  configured_end("a tile that is not there", [] { zero(8); });
  configured_end("a product of other shapes", [] { multiply(0, 2, Sign::plus, 1, Sign::both); });
  configured_end("a product with itself", [] { multiply(0, 1, Sign::plus, 1, Sign::plus); });
  const auto refused = [&](const char* what, auto change) {
    require_end(what, [&] {
      Config wrong = small();
      change(wrong);
      load_config(&wrong);
    });
  };
  refused("a palette", [](Config& wrong) { wrong.palette = 2; });
  refused("seventeen rows", [](Config& wrong) { wrong.set(0, 17, 64); });
  refused("rows of 65 bytes", [](Config& wrong) { wrong.set(0, 16, 65); });
  refused("rows without bytes", [](Config& wrong) { wrong.set(0, 16, 0); });
  refused("a ninth tile", [](Config& wrong) { wrong.set(8, 16, 64); });
  refused("a reserved byte", [](Config& wrong) { wrong.rest[5] = 1; });
}

}  // namespace

int main() {
  const Config config = small();
  load_config(&config);
  require(configured_threads() == 1, "one thread has tiles");
  for (const Sign left : {Sign::plus, Sign::both}) {
    for (const Sign right : {Sign::plus, Sign::both}) test_products(left, right);
  }
  require(multiplications() == 4, "four products");
  int32_t sums[kRows][kColumns] = {{1}};
  load_config(&config);
  store(0, sums, sizeof sums[0]);
  require(sums[0][0] == 0, "a configuration clears the tiles");
  release();
  release();
  require(configured_threads() == 0, "no thread has tiles");
  test_misuse();
  std::printf("emulated tiles: passed\n");
}
