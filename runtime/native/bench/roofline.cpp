// SPDX-License-Identifier: Apache-2.0
// Measures where the time of a forward pass goes, and what the processor could reach.
//
//   roofline ARTIFACT INSTRUCTION_SET|- TOKENS [TOKENS …]
//
// Runs the engine's own forward pass on one thread, with a clock around every kernel, and prints
// JSON: the ceilings measured on this machine, and for each number of tokens and each part of the
// pass the median of its milliseconds, its multiply-adds and the bytes of weights it has to read.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "ceiling.h"
#include "one_text.h"

namespace m3e {

std::vector<Ceiling>& ceilings() {
  static std::vector<Ceiling> all;
  return all;
}

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kCodesAttention = "attention in 16 bits";
constexpr int kRounds = 31;
constexpr double kLongEnough = 0.1;  // seconds of a ceiling's loop
constexpr int kRepeats = 5;          // the fastest of them counts

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Part {
  double seconds = 0, multiply_adds = 0, bytes = 0;
};

// The kernels that are timed. Global, because the functions of a table take no context.
const Kernels* timed;
std::map<std::string, Part> parts;

template <class Call>
void time(const std::string& name, double multiply_adds, double bytes, Call call) {
  const auto start = Clock::now();
  call();
  Part& part = parts[name];
  part.seconds += seconds_since(start);
  part.multiply_adds += multiply_adds;
  part.bytes += bytes;
}

std::string product_name(int inputs, int outputs) {
  return "product " + std::to_string(inputs) + " x " + std::to_string(outputs);
}

Kernels with_clock() {
  Kernels table{};
  table.name = timed->name;
  table.prepare_thread = timed->prepare_thread;
  table.release_thread = timed->release_thread;
  table.embed = [](const EmbeddingTable& e, const int32_t* ids, const int32_t* positions,
                   int hidden, float* out, int stride, Range rows) {
    time("embedding", 0, 0, [&] { timed->embed(e, ids, positions, hidden, out, stride, rows); });
  };
  table.layer_norm = [](const NormWeights& norm, int hidden, const float* x, float* out, int stride,
                        Range rows) {
    time("normalization", 0, 0, [&] { timed->layer_norm(norm, hidden, x, out, stride, rows); });
  };
  table.rms_norm = [](const NormWeights& norm, int hidden, const float* x, float* out, int stride,
                      Range rows) {
    time("normalization", 0, 0, [&] { timed->rms_norm(norm, hidden, x, out, stride, rows); });
  };
  table.rotate = [](const Rotation& rotation, float* x, int stride, Range rows) {
    time("rotation", 0, 0, [&] { timed->rotate(rotation, x, stride, rows); });
  };
  table.gate = [](Activation activation, const float* x, int stride, float* out, int out_stride,
                  int panels, Range rows) {
    time("gate", 0, 0, [&] { timed->gate(activation, x, stride, out, out_stride, panels, rows); });
  };
  table.quantize = [](const float* x, int stride, int columns, const float* smoothing,
                      const QuantizedRows& codes, Range rows) {
    time("quantization", 0, 0,
         [&] { timed->quantize(x, stride, columns, smoothing, codes, rows); });
  };
  table.gemm_int8 = [](const QuantizedRows& x, const Int8Matrix& w, const Epilogue& to, Range rows,
                       Range panels) {
    const double weights = static_cast<double>(w.inputs) * panels.size() * kPanelColumns;
    time(product_name(w.inputs, w.outputs), weights * rows.size(), weights,
         [&] { timed->gemm_int8(x, w, to, rows, panels); });
  };
  table.gemm_float = [](const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                        Range rows, Range panels, float* scratch) {
    const double weights = static_cast<double>(w.inputs) * panels.size() * kPanelColumns;
    time(product_name(w.inputs, w.outputs), weights * rows.size(), weights * (w.panels ? 4 : 2),
         [&] { timed->gemm_float(x, stride, w, to, rows, panels, scratch); });
  };
  table.gemm_bfloat16 = [](const float* x, int stride, const FloatMatrix& w, const Epilogue& to,
                           Range rows, Range panels, float* scratch) {
    const double weights = static_cast<double>(w.inputs) * panels.size() * kPanelColumns;
    time(product_name(w.inputs, w.outputs), weights * rows.size(), weights * 2,
         [&] { timed->gemm_bfloat16(x, stride, w, to, rows, panels, scratch); });
  };
  table.attention = [](const AttentionJob& job) {
    const double each = 2.0 * job.queries.size() * job.length * job.head_size;
    time("attention", each, 0, [&] { timed->attention(job); });
  };
  table.attention_rounded = [](const AttentionJob& job) {
    const double each = 2.0 * job.queries.size() * job.length * job.head_size;
    const char* name = timed->attention_rounded == timed->attention ? "attention" : kCodesAttention;
    time(name, each, 0, [&] { timed->attention_rounded(job); });
  };
  table.pool = timed->pool;
  return table;
}

// Multiply-adds per second.
double reached(int64_t (*loop)(int64_t rounds)) {
  int64_t rounds = 1 << 16;
  double best = 0;
  for (int i = 0; i < kRepeats;) {
    const auto start = Clock::now();
    const auto done = static_cast<double>(loop(rounds));
    const double seconds = seconds_since(start);
    if (seconds < kLongEnough) {
      rounds *= 2;
      continue;
    }
    best = std::max(best, done / seconds);
    ++i;
  }
  return best;
}

// Bytes per second when reading `bytes` repeatedly, from the cache that they fit in or from memory.
double reading_speed(size_t bytes) {
  Buffer<uint64_t> memory;
  memory.reserve(bytes / sizeof(uint64_t));
  const uint64_t* values = memory.data();
  const size_t count = bytes / sizeof(uint64_t);
  double best = 0;
  for (int i = 0; i < 2 * kRepeats; ++i) {
    const auto start = Clock::now();
    uint64_t sums[32] = {};
    for (size_t at = 0; at + 32 <= count; at += 32) {
      for (size_t lane = 0; lane < 32; ++lane) sums[lane] ^= values[at + lane];
    }
    asm volatile("" : : "m"(sums) : "memory");
    best = std::max(best, static_cast<double>(bytes) / seconds_since(start));
  }
  return best;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void print_pass(const Weights& weights, const Kernels& table, int tokens) {
  OneText text(weights, tokens);
  const Pack pack = text.pack();
  Workspace space;
  space.reserve(weights, pack, 1);
  std::map<std::string, std::vector<double>> seconds;
  std::vector<double> whole;
  for (int round = 0; round < kRounds + 2; ++round) {
    parts.clear();
    Team alone(1);
    const auto start = Clock::now();
    Forward(weights, table, pack, space, alone, 0).run();
    const double took = seconds_since(start);
    if (round < 2) continue;
    whole.push_back(took);
    for (const auto& [name, part] : parts) seconds[name].push_back(part.seconds);
  }
  std::printf("{\"tokens\": %d, \"ms\": %.4f, \"parts\": [", tokens, 1e3 * median(whole));
  const char* comma = "";
  for (const auto& [name, part] : parts) {
    std::printf("%s\n  {\"name\": \"%s\", \"ms\": %.4f, \"multiply_adds\": %.0f, \"bytes\": %.0f}",
                comma, name.c_str(), 1e3 * median(seconds[name]), part.multiply_adds, part.bytes);
    comma = ",";
  }
  std::printf("]}");
}

int run(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: %s ARTIFACT INSTRUCTION_SET|- TOKENS [TOKENS ...]\n",
                 arguments[0]);
    return 2;
  }
  const Weights weights(arguments[1]);
  timed = kernels_named(arguments[2]);
  if (!timed) return 2;
  const Kernels table = with_clock();
  const auto same = [](const Ceiling& each) {
    return !std::strcmp(each.instruction_set, timed->name);
  };
  const auto ceiling = std::find_if(ceilings().begin(), ceilings().end(), same);
  size_t bytes = 0;
  for (const Layer& layer : weights.layers) {
    for (const Matrix* each :
         {&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output}) {
      const int inputs = each->is_int8()       ? each->int8.inputs
                         : each->floats.panels ? 4 * each->floats.inputs
                                               : 2 * each->floats.inputs;
      bytes += static_cast<size_t>(inputs) * static_cast<size_t>(each->outputs());
    }
  }
  std::printf(
      "{\"instruction_set\": \"%s\", \"int8_multiply_adds_per_s\": %.4g, "
      "\"float_multiply_adds_per_s\": %.4g, \"weights_bytes\": %zu, \"bytes_per_s\": %.4g, "
      "\"passes\": [",
      timed->name, reached(ceiling->int8), reached(ceiling->float32), bytes, reading_speed(bytes));
  for (int i = 3; i < count; ++i) {
    if (i > 3) std::printf(",");
    std::printf("\n");
    print_pass(weights, table, std::atoi(arguments[i]));
  }
  std::printf("]}\n");
  return 0;
}

}  // namespace
}  // namespace m3e

int main(int count, char** arguments) {
  try {
    return m3e::run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
