// SPDX-License-Identifier: Apache-2.0
#include "pooling.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "error.h"

namespace m3e {
namespace {

constexpr size_t kMostParts = 16;
constexpr double kSmallestLength = 1e-12;  // torch.nn.functional.normalize's
constexpr float kRootHalf = 0.70710678f;

struct NamedReduction {
  const char* name;
  Reduction reduction;
};

// sentence-transformers' names
constexpr NamedReduction kReductions[] = {
    {"mean", Reduction::mean},
    {"cls", Reduction::first},
    {"max", Reduction::max},
    {"mean_sqrt_len_tokens", Reduction::mean_sqrt_length},
    {"weightedmean", Reduction::weighted_mean},
    {"lasttoken", Reduction::last},
};

struct NamedEarly {
  const char* name;
  Early early;
};

// uniem's, and text2vec's last
constexpr NamedEarly kEarly[] = {
    {"embedding_last_mean", Early::words},
    {"first_last_mean", Early::embeddings},
    {"first_last_avg", Early::first_layer},
};

struct NamedActivation {
  const char* name;
  HeadActivation activation;
};

constexpr NamedActivation kActivations[] = {
    {"identity", HeadActivation::identity}, {"tanh", HeadActivation::tanh},
    {"relu", HeadActivation::relu},         {"gelu", HeadActivation::gelu},
    {"silu", HeadActivation::silu},         {"sigmoid", HeadActivation::sigmoid},
};

[[noreturn]] void refuse_pooling(const std::string& name) {
  std::string known;
  for (const NamedReduction& each : kReductions) known += std::string(each.name) + ", ";
  for (const NamedEarly& each : kEarly) known += std::string(each.name) + ", ";
  refuse("the metadata says pooling = '" + name.substr(0, 80) + "'; known: " + known +
         "and the first " + std::to_string(std::size(kReductions)) + " joined by +");
}

const float* row_of(const float* x, int stride, int row) {
  return x + static_cast<int64_t>(row) * stride;
}

template <class Combine>
void combine_rows(const float* x, int stride, int hidden, Range rows, float* out, Combine combine) {
  for (int row = rows.begin; row < rows.end; ++row) {
    const float* values = row_of(x, stride, row);
    for (int column = 0; column < hidden; ++column) {
      out[column] = combine(out[column], values[column], row);
    }
  }
}

void divide(float* x, int count, float divisor) {
  for (int i = 0; i < count; ++i) x[i] /= divisor;
}

}  // namespace

Pooling Pooling::named(const std::string& name) {
  for (const NamedEarly& each : kEarly) {
    if (name == each.name) return {{Reduction::mean}, each.early};
  }
  Pooling found;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('+', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const auto* known = std::find_if(std::begin(kReductions), std::end(kReductions),
                                     [&](const NamedReduction& each) { return part == each.name; });
    if (known == std::end(kReductions) || found.parts.size() == kMostParts) refuse_pooling(name);
    found.parts.push_back(known->reduction);
    begin = end + 1;
  }
  return found;
}

void reduce(Reduction reduction, const float* x, int stride, int hidden, Range rows, float* out) {
  const auto add = [](float total, float value, int) { return total + value; };
  const auto count = static_cast<float>(rows.size());
  const float* first = row_of(x, stride, rows.size() ? rows.begin : 0);
  std::fill(out, out + hidden, 0.0f);
  if (rows.size() == 0 && reduction != Reduction::first) return;
  switch (reduction) {
    case Reduction::first:
      std::copy(first, first + hidden, out);
      return;
    case Reduction::last:
      std::copy(row_of(x, stride, rows.end - 1), row_of(x, stride, rows.end - 1) + hidden, out);
      return;
    case Reduction::max:
      std::copy(first, first + hidden, out);
      return combine_rows(x, stride, hidden, rows, out,
                          [](float top, float value, int) { return value > top ? value : top; });
    case Reduction::weighted_mean:
      combine_rows(x, stride, hidden, rows, out, [](float total, float value, int row) {
        return total + static_cast<float>(row + 1) * value;
      });
      return divide(out, hidden, count * static_cast<float>(rows.begin + 1 + rows.end) / 2);
    case Reduction::mean_sqrt_length:
      combine_rows(x, stride, hidden, rows, out, add);
      return divide(out, hidden, std::sqrt(count));
    case Reduction::mean:
      combine_rows(x, stride, hidden, rows, out, add);
      return divide(out, hidden, count);
  }
}

HeadActivation head_activation_named(const std::string& name) {
  std::string known;
  for (const NamedActivation& each : kActivations) {
    if (name == each.name) return each.activation;
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  }
  refuse("the metadata says '" + name.substr(0, 80) + "' of a dense layer; known: " + known);
}

void apply(HeadActivation activation, float* x, int count) {
  const auto each = [&](auto function) {
    for (int i = 0; i < count; ++i) x[i] = function(x[i]);
  };
  switch (activation) {
    case HeadActivation::identity:
      return;
    case HeadActivation::tanh:
      return each([](float value) { return std::tanh(value); });
    case HeadActivation::relu:
      return each([](float value) { return std::max(value, 0.0f); });
    case HeadActivation::gelu:
      return each([](float value) { return 0.5f * value * std::erfc(-value * kRootHalf); });
    case HeadActivation::silu:
      return each([](float value) { return value / (1 + std::exp(-value)); });
    case HeadActivation::sigmoid:
      return each([](float value) { return 1 / (1 + std::exp(-value)); });
  }
}

void scale_to_unit_length(float* x, int count) {
  double squares = 0;
  for (int i = 0; i < count; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const auto inverse = static_cast<float>(1 / std::max(std::sqrt(squares), kSmallestLength));
  for (int i = 0; i < count; ++i) x[i] *= inverse;
}

}  // namespace m3e
