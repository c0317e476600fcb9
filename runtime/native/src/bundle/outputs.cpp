// SPDX-License-Identifier: Apache-2.0
#include "outputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "error.h"
#include "half.h"

namespace m3e {
namespace {

constexpr float kTiny = 1e-12f;  // torch.nn.functional.normalize's eps
constexpr size_t kPairwiseBlock = 128;

// Sums as numpy does, in the same order: eight sums side by side in blocks of up to 128, and halves
// of what is longer.
template <class Value>
float pairwise_sum(Value value, size_t begin, size_t count) {
  if (count < 8) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += value(begin + i);
    return sum;
  }
  if (count > kPairwiseBlock) {
    const size_t half = count / 2 - count / 2 % 8;
    return pairwise_sum(value, begin, half) + pairwise_sum(value, begin + half, count - half);
  }
  float sums[8];
  for (size_t k = 0; k < 8; ++k) sums[k] = value(begin + k);
  size_t i = 8;
  for (; i + 8 <= count; i += 8) {
    for (size_t k = 0; k < 8; ++k) sums[k] += value(begin + i + k);
  }
  float sum =
      ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  for (; i < count; ++i) sum += value(begin + i);
  return sum;
}

float length_of(const float* vector, size_t dimension) {
  const auto square = [&](size_t at) { return vector[at] * vector[at]; };
  return std::sqrt(pairwise_sum(square, 0, dimension));
}

bool needs_ranges(m3e_output output) { return output == M3E_INT8 || output == M3E_UINT8; }

void to_halves(const float* vector, int32_t dimension, void* result) {
  auto* to = static_cast<uint8_t*>(result);
  for (int32_t i = 0; i < dimension; ++i) {
    const uint16_t half = half_of(vector[i]);
    std::memcpy(to + 2 * i, &half, sizeof half);
  }
}

// One of 256 steps between the ends of a dimension's range.
uint8_t code_of(float value, float low, float high) {
  const float step = (high - low) / 255;
  const float code = std::floor((value - low) / (step > 0 ? step : 1.0f));
  return code > 0 ? static_cast<uint8_t>(std::min(code, 255.0f)) : 0;  // 0 if it is not a number
}

void to_bytes(const float* vector, int32_t dimension, const float* ranges, bool is_signed,
              void* result) {
  auto* to = static_cast<uint8_t*>(result);
  for (int32_t i = 0; i < dimension; ++i) {
    const uint8_t code = code_of(vector[i], ranges[i], ranges[dimension + i]);
    to[i] = is_signed ? code ^ 0x80 : code;  // minus 128
  }
}

void to_bits(const float* vector, int32_t dimension, bool is_signed, void* result) {
  auto* to = static_cast<uint8_t*>(result);
  for (int32_t begin = 0; begin < dimension; begin += 8) {
    uint8_t bits = 0;
    for (int32_t i = begin; i < std::min(begin + 8, dimension); ++i) {
      bits |= (vector[i] > 0 ? 0x80 : 0) >> (i - begin);
    }
    to[begin / 8] = is_signed ? bits ^ 0x80 : bits;  // minus 128
  }
}

}  // namespace

void normalize(float* vector, int32_t dimension) {
  const float length = length_of(vector, static_cast<size_t>(dimension));
  const float divisor = length < kTiny ? kTiny : length;
  for (int32_t i = 0; i < dimension; ++i) vector[i] /= divisor;
}

void OutputOptions::check() const {
  if (output < M3E_FLOAT32 || output > M3E_UBINARY) {
    throw Error(ErrorKind::argument, "output " + std::to_string(output) + " is unknown");
  }
  if (!needs_ranges(output)) return;
  if (!ranges) throw Error(ErrorKind::argument, "M3E_INT8 and M3E_UINT8 need ranges");
  const auto is_finite = [](float each) { return std::isfinite(each); };
  if (!std::all_of(ranges, ranges + 2 * static_cast<size_t>(dimension), is_finite)) {
    throw Error(ErrorKind::argument, "ranges hold NaN or infinity");
  }
}

size_t OutputOptions::vector_bytes() const {
  const auto count = static_cast<size_t>(dimension);
  if (output == M3E_FLOAT32) return count * sizeof(float);
  if (output == M3E_FLOAT16) return count * sizeof(uint16_t);
  return needs_ranges(output) ? count : (count + 7) / 8;
}

bool OutputOptions::is_identity(int32_t full) const {
  return output == M3E_FLOAT32 && dimension == full;
}

void OutputOptions::apply(float* vector, void* result) const {
  if (normalize) m3e::normalize(vector, dimension);
  switch (output) {
    case M3E_FLOAT32:
      if (vector != result) std::memcpy(result, vector, vector_bytes());
      return;
    case M3E_FLOAT16:
      return to_halves(vector, dimension, result);
    case M3E_INT8:
    case M3E_UINT8:
      return to_bytes(vector, dimension, ranges, output == M3E_INT8, result);
    case M3E_BINARY:
    case M3E_UBINARY:
      return to_bits(vector, dimension, output == M3E_BINARY, result);
  }
}

float similarity(const float* a, const float* b, size_t dimension, const std::string& function) {
  double dot = 0, aa = 0, bb = 0, squares = 0, differences = 0;
  for (size_t i = 0; i < dimension; ++i) {
    const double x = a[i], y = b[i];
    dot += x * y, aa += x * x, bb += y * y;
    squares += (x - y) * (x - y), differences += std::fabs(x - y);
  }
  if (function == "dot") return static_cast<float>(dot);
  if (function == "euclidean") return static_cast<float>(-std::sqrt(squares));
  if (function == "manhattan") return static_cast<float>(-differences);
  const double tiny = kTiny;
  return static_cast<float>(dot / (std::max(std::sqrt(aa), tiny) * std::max(std::sqrt(bb), tiny)));
}

}  // namespace m3e
