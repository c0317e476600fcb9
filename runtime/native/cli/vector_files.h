// SPDX-License-Identifier: Apache-2.0
// Vectors in files: JSON Lines, npy, raw.
#pragma once

#include <m3e.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "output.h"

namespace m3e_cli {

// The form of a vector's values.
struct Precision {
  const char* name;  // "float32"
  m3e_output output;
  const char* dtype;  // numpy's name, for npy
  size_t bytes;       // of a value
};

extern const std::vector<std::string> kPrecisions;  // their names
const Precision& precision_named(const std::string& name);

// Writes vectors to an output in one format.
class VectorWriter {
 public:
  virtual ~VectorWriter() = default;
  // `vectors` holds `count` vectors. `cut` is null, or holds what m3e_embed wrote.
  virtual void write(const uint8_t* vectors, size_t count, const int64_t* cut) = 0;
  virtual void finish() {}
};

// `format` is "jsonl", "npy" or "raw".
std::unique_ptr<VectorWriter> make_writer(const std::string& format, const Precision& precision,
                                          size_t vector_bytes, Output& output);

// Ranges for 8 bits, [2, dimension], from a file: npy if its name ends in .npy, else raw float32.
std::vector<float> read_ranges(const std::string& path, int32_t dimension);

}  // namespace m3e_cli
