// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>

#include "bundle/json_writer.h"
#include "commands.h"
#include "model.h"
#include "output.h"

namespace m3e_cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kWarmUp = 20;
constexpr size_t kCorpus = 1024;  // texts
constexpr const char* kShort = "如何更换花呗绑定银行卡 how to change it";
constexpr const char* kSentences[] = {
    "今天天气很好,我们去公园散步吧。", "The weather is lovely today, and the park is close by.",
    "用户反馈登录页面打不开,请尽快检查服务器的日志。",
    "A sentence vector places texts of similar meaning near each other."};

constexpr const char* kExamples =
    "  m3e bench m3e-small-int8 --threads 1\n"
    "  m3e bench m3e-small-int8 --seconds 10 | jq .tokens_per_second\n";

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Texts of one to eight sentences.
std::vector<std::string> corpus() {
  std::vector<std::string> texts(kCorpus);
  for (size_t i = 0; i < kCorpus; ++i) {
    for (size_t k = 0; k <= i % 8; ++k) texts[i] += kSentences[(i + k) % 4];
  }
  return texts;
}

int64_t count_tokens(const m3e_model* model, const std::vector<std::string>& texts) {
  const TextPointers pointers(texts);
  m3e_tokens tokens{};
  char message[M3E_MESSAGE_SIZE];
  check(m3e_tokenize(m3e_model_tokenizer(model), pointers.data.data(), pointers.lengths.data(),
                     texts.size(), m3e_model_max_tokens(model), &tokens, message),
        message);
  const int64_t count = tokens.offsets[texts.size()];
  m3e_tokens_free(&tokens);
  return count;
}

// Milliseconds that a short text takes, sorted.
std::vector<double> latencies(m3e_model* model, double seconds) {
  const m3e_embedding embedding = M3E_EMBEDDING;
  std::vector<double> times;
  for (size_t i = 0; i < kWarmUp; ++i) embed_floats(model, {kShort}, embedding);
  const Clock::time_point begin = Clock::now();
  while (times.empty() || seconds_since(begin) < seconds) {
    const Clock::time_point start = Clock::now();
    embed_floats(model, {kShort}, embedding);
    times.push_back(seconds_since(start) * 1e3);
  }
  std::sort(times.begin(), times.end());
  return times;
}

// Seconds that the corpus takes, at best.
double corpus_seconds(m3e_model* model, const std::vector<std::string>& texts, double seconds) {
  const m3e_embedding embedding = M3E_EMBEDDING;
  double best = 0;
  const Clock::time_point begin = Clock::now();
  do {
    const Clock::time_point start = Clock::now();
    embed_floats(model, texts, embedding);
    const double took = seconds_since(start);
    best = best == 0 ? took : std::min(best, took);
  } while (seconds_since(begin) < seconds);
  return best;
}

int run(const Arguments& arguments) {
  const double seconds = arguments.number("--seconds", 3, 1, 3600);
  const Clock::time_point begin = Clock::now();
  const OpenModel model = open_model(arguments);
  const double open_seconds = seconds_since(begin);
  const std::vector<double> times = latencies(model.get(), seconds);
  const std::vector<std::string> texts = corpus();
  const int64_t tokens = count_tokens(model.get(), texts);
  const double took = corpus_seconds(model.get(), texts, seconds);
  m3e_encoder* encoder = m3e_model_encoder(model.get());
  m3e::JsonWriter json;
  json.open('{').key("artifact").value(m3e_model_artifact(model.get()));
  json.key("instruction_set").value(m3e_instruction_set(encoder));
  json.key("threads").value(m3e_threads(encoder)).key("open_ms").value(open_seconds * 1e3);
  json.key("short_text_tokens").value(count_tokens(model.get(), {kShort}));
  json.key("short_text_median_ms").value(times[times.size() / 2]);
  json.key("short_text_p90_ms").value(times[times.size() * 9 / 10]);
  json.key("texts_per_second").value(static_cast<double>(kCorpus) / took);
  json.key("tokens_per_second").value(static_cast<double>(tokens) / took).close('}');
  print(json.text() + "\n");
  return 0;
}

}  // namespace

Command bench_command() {
  return {
      {"bench", "BUNDLE",
       "Measure how long a short text takes, and how many tokens of many texts are encoded in a\n"
       "second. Writes a JSON object.",
       join({{"--seconds", "N", "time of each measurement (default: 3)"}}, kModelOptions),
       kExamples, 1, 1},
      run,
      "speed on this machine"};
}

}  // namespace m3e_cli
