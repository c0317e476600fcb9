// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "failure.h"

namespace m3e_cli {
namespace {

constexpr int32_t kMostThreads = 1024;

// Processors that the container's quota allows, rounded up; a large number where there is no quota.
int32_t quota() {
  int32_t allowed = kMostThreads;
#if defined(__linux__)
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long long time = 0, period = 0;
    if (std::fscanf(file, "%lld %lld", &time, &period) == 2 && time > 0 && period > 0) {
      allowed = static_cast<int32_t>(std::min<long long>((time + period - 1) / period, allowed));
    }
    std::fclose(file);
  }
#endif
  return allowed;
}

}  // namespace

const std::vector<Option> kModelOptions = {
    {"--artifact", "NAME", "run this artifact (default: the fastest)"},
    {"--threads", "N", "threads of the engine (default: all processors)"},
    {"--no-verify", nullptr, "do not compare SHA-256 sums"},
};

void check(m3e_status status, const char* message) {
  if (status == M3E_OK) return;
  throw Failure(message, status == M3E_ERROR_ARGUMENT ? kUsage : kFailed);
}

int32_t threads_of(const Arguments& arguments) {
  const auto processors = static_cast<int32_t>(std::thread::hardware_concurrency());
  const int32_t all = std::clamp(std::min(processors, quota()), 1, kMostThreads);
  return arguments.number("--threads", all, 1, kMostThreads);
}

OpenModel open_model(const Arguments& arguments) {
  m3e_options options = M3E_OPTIONS;
  options.threads = threads_of(arguments);
  options.artifact = arguments.text_or_null("--artifact");
  options.skip_verification = arguments.has("--no-verify");
  char message[M3E_MESSAGE_SIZE];
  m3e_model* model = nullptr;
  check(m3e_open(arguments.rest()[0].c_str(), &options, &model, message), message);
  return OpenModel(model);
}

TextPointers::TextPointers(const std::vector<std::string>& texts) {
  for (const std::string& each : texts) {
    data.push_back(each.data());
    lengths.push_back(each.size());
  }
}

std::vector<float> embed_floats(m3e_model* model, const std::vector<std::string>& texts,
                                const m3e_embedding& embedding) {
  const TextPointers pointers(texts);
  std::vector<float> vectors(texts.size() * m3e_vector_size(model, &embedding) / sizeof(float));
  char message[M3E_MESSAGE_SIZE];
  check(m3e_embed(model, pointers.data.data(), pointers.lengths.data(), texts.size(), &embedding,
                  vectors.data(), nullptr, message),
        message);
  return vectors;
}

std::string bundle_info(const std::string& path) {
  char message[M3E_MESSAGE_SIZE];
  char* json = nullptr;
  check(m3e_bundle_info(path.c_str(), &json, message), message);
  const std::string info = json;
  m3e_string_free(json);
  return info;
}

}  // namespace m3e_cli
