// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "failure.h"
#include "model.h"
#include "numbers.h"
#include "output.h"

namespace m3e_cli {
namespace {

constexpr const char* kExamples =
    "  m3e similarity m3e-small-int8 如何更换花呗绑定银行卡 花呗更改绑定银行卡 今天天气很好\n"
    "  m3e similarity m3e-small-int8 \"a query\" \"one text\" \"another\" | sort -rn\n";

int run(const Arguments& arguments) {
  const OpenModel model = open_model(arguments);
  m3e_embedding embedding = M3E_EMBEDDING;
  embedding.prompt_name = arguments.text_or_null("--prompt-name");
  embedding.prompt = arguments.text_or_null("--prompt");
  const std::vector<std::string> texts(arguments.rest().begin() + 1, arguments.rest().end());
  const std::vector<float> vectors = embed_floats(model.get(), texts, embedding);
  const int32_t dimension = m3e_model_dimension(model.get());
  std::vector<float> scores(texts.size() - 1);
  char message[M3E_MESSAGE_SIZE];
  check(m3e_similarity(model.get(), vectors.data(), 1, vectors.data() + dimension, scores.size(),
                       dimension, scores.data(), message),
        message);
  std::string lines;
  for (size_t i = 0; i < scores.size(); ++i) {
    append_float(lines, scores[i]);
    lines += "\t" + texts[i + 1] + "\n";
  }
  print(lines);
  return 0;
}

}  // namespace

Command similarity_command() {
  return {{"similarity", "BUNDLE TEXT TEXT [TEXT ...]",
           "Compare the first text with each of the others, by the bundle's similarity function.\n"
           "Writes a line for each: the score, a tab, the text.",
           join(kPromptOptions, kModelOptions), kExamples, 3, 4096},
          run,
          "scores of texts beside a first one"};
}

}  // namespace m3e_cli
