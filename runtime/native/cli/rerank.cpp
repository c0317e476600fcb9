// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bundle/json_writer.h"
#include "commands.h"
#include "failure.h"
#include "lines.h"
#include "model.h"
#include "numbers.h"
#include "output.h"
#include "progress.h"

namespace m3e_cli {
namespace {

constexpr int32_t kMostPassages = 1 << 30;

const std::vector<Option> kOptions = {
    {"--top-k", "N", "write the N best passages only"},
    {"--activation", "NAME", "default, identity (logits) or sigmoid"},
    {"--field", "NAME", "read JSON Lines and score this field (default for *.jsonl: text)"},
    {"--json", nullptr, "write JSON Lines: corpus_id, score, text"},
    {"--out", "FILE", "write to FILE, whole or not at all (default: standard output)"},
};

constexpr const char* kExamples =
    "  m3e rerank bge-reranker-base-int8 花呗怎么换银行卡 passages.txt --top-k 3\n"
    "  cat passages.txt | m3e rerank ms-marco-int8 \"how do I change my card\" --json\n"
    "  m3e rerank bge-reranker-base-int8 花呗怎么换银行卡 rows.jsonl --field title | head -1\n";

struct Passage {
  size_t number;  // from 0 on
  float score;
  std::string text;
};

m3e_activation activation_of(const Arguments& arguments) {
  const std::vector<std::string> names = {"default", "identity", "sigmoid"};  // as m3e_activation
  const std::string name = arguments.word("--activation", names);
  return static_cast<m3e_activation>(std::find(names.begin(), names.end(), name) - names.begin());
}

std::vector<float> scores_of(m3e_model* model, const std::string& query,
                             const std::vector<std::string>& passages, const m3e_scoring& scoring) {
  const std::vector<const char*> queries(passages.size(), query.data());
  const std::vector<size_t> query_lengths(passages.size(), query.size());
  const TextPointers pointers(passages);
  std::vector<float> scores(passages.size());
  char message[M3E_MESSAGE_SIZE];
  check(m3e_score(model, queries.data(), query_lengths.data(), pointers.data.data(),
                  pointers.lengths.data(), passages.size(), &scoring, scores.data(), nullptr,
                  message),
        message);
  return scores;
}

std::vector<Passage> score_all(m3e_model* model, const std::string& query, TextInput& input,
                               const m3e_scoring& scoring) {
  scores_of(model, query, {}, scoring);  // refuses a bundle of vectors before any input is read
  if (m3e_model_labels(model) != 1) {
    throw Failure("the model has " + std::to_string(m3e_model_labels(model)) +
                  " labels, and one that ranks passages has one");
  }
  std::vector<Passage> passages;
  std::vector<std::string> texts;
  Progress progress;
  while (input.next(texts)) {
    const std::vector<float> scores = scores_of(model, query, texts, scoring);
    for (size_t i = 0; i < texts.size(); ++i) {
      passages.push_back({passages.size(), scores[i], std::move(texts[i])});
    }
    progress.add(scores.size());
  }
  return passages;
}

std::string line_of(const Passage& passage, bool as_json) {
  std::string score;
  append_float(score, passage.score);
  if (!as_json) return score + "\t" + passage.text + "\n";
  m3e::JsonWriter text;
  text.value(passage.text);
  return "{\"corpus_id\":" + std::to_string(passage.number) + ",\"score\":" + score +
         ",\"text\":" + text.text() + "}\n";
}

int run(const Arguments& arguments) {
  m3e_scoring scoring = M3E_SCORING;
  scoring.prompt_name = arguments.text_or_null("--prompt-name");
  scoring.prompt = arguments.text_or_null("--prompt");
  scoring.activation = activation_of(arguments);
  const auto most =
      static_cast<size_t>(arguments.number("--top-k", kMostPassages, 1, kMostPassages));
  const std::string path = input_path(arguments.rest(), 2);
  TextInput input(path, field_of(path, arguments.text("--field")));
  const OpenModel model = open_model(arguments);
  Output output(arguments.text("--out"));
  std::vector<Passage> passages = score_all(model.get(), arguments.rest()[1], input, scoring);
  std::stable_sort(passages.begin(), passages.end(),
                   [](const Passage& a, const Passage& b) { return a.score > b.score; });
  passages.resize(std::min(most, passages.size()));
  for (const Passage& each : passages) output.write(line_of(each, arguments.has("--json")));
  output.finish();
  return 0;
}

}  // namespace

Command rerank_command() {
  return {{"rerank", "BUNDLE QUERY [FILE]",
           "Score each line of FILE, or of standard input, as an answer to QUERY, with the bundle\n"
           "of a reranker. Writes the lines by falling score: the score, a tab, the passage.",
           join(join(kOptions, kPromptOptions), kModelOptions), kExamples, 2, 3},
          run,
          "passages by their scores for a query"};
}

}  // namespace m3e_cli
