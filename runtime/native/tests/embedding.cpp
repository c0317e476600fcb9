// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "kernel_tests.h"

namespace m3e {
namespace {

void test_width(const Kernels& kernels, int hidden) {
  const int words = 7, places = 5, rows = 9;
  Buffer<float> table, positions, scales;
  Buffer<int8_t> codes;
  Buffer<uint16_t> halves;
  // Exactly as long as the tables, so that the sanitizer finds a read past the end.
  const size_t size = static_cast<size_t>(words * hidden);
  table.reserve(size);
  codes.reserve(size);
  halves.reserve(size);
  scales.reserve(words);
  positions.reserve(static_cast<size_t>(places * hidden));
  for (int i = 0; i < words * hidden; ++i) {
    codes.data()[i] = static_cast<int8_t>(uniform(-127, 127));
    table.data()[i] = static_cast<float>(codes.data()[i]) / 128;
    halves.data()[i] = to_half(table.data()[i]);
  }
  for (int i = 0; i < words; ++i) scales.data()[i] = 1.0f / 128;
  for (int i = 0; i < places * hidden; ++i) positions.data()[i] = normal();
  std::vector<int32_t> ids(rows), at(rows);
  for (int r = 0; r < rows; ++r) {
    ids[static_cast<size_t>(r)] = r == 0 ? words - 1 : r % words;
    at[static_cast<size_t>(r)] = r == 0 ? places - 1 : r % places;
  }
  const EmbeddingTable tables[] = {
      {table.data(), nullptr, nullptr, nullptr, positions.data(), nullptr},
      {nullptr, halves.data(), nullptr, nullptr, positions.data(), nullptr},
      {nullptr, nullptr, codes.data(), scales.data(), positions.data(), nullptr},
  };
  FloatGrid out = floats(rows, hidden);
  for (const EmbeddingTable& each : tables) {
    kernels.embed(each, ids.data(), at.data(), hidden, out.data(), out.stride, {0, rows});
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < hidden; ++c) {
        const size_t row = static_cast<size_t>(r);
        const float expected =
            table.data()[ids[row] * hidden + c] + positions.data()[at[row] * hidden + c];
        check_near(out.at(r, c), expected, 1e-6, "embedded value");
      }
    }
  }
}

}  // namespace

void test_embed(const Kernels& kernels) {
  for (const int hidden : {3, 16, 26, 384}) {
    run(kernels, "embed " + std::to_string(hidden), [&] { test_width(kernels, hidden); });
  }
}

}  // namespace m3e
