// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "lines.h"
#include "model.h"
#include "output.h"

namespace m3e_cli {
namespace {

constexpr int32_t kMostTokens = 1 << 20;

constexpr const char* kExamples =
    "  echo 今天天气很好 | m3e tokenize m3e-small-int8\n"
    "  m3e tokenize m3e-small-int8 rows.jsonl --field title --most 64\n";

struct Tokens : m3e_tokens {
  Tokens() : m3e_tokens{} {}
  ~Tokens() { m3e_tokens_free(this); }
  Tokens(const Tokens&) = delete;
  Tokens& operator=(const Tokens&) = delete;
};

std::string line_of(const m3e_tokens& tokens, size_t text) {
  std::string line = "{\"ids\":[";
  for (int64_t at = tokens.offsets[text]; at < tokens.offsets[text + 1]; ++at) {
    if (at > tokens.offsets[text]) line += ',';
    line += std::to_string(tokens.ids[at]);
  }
  return line + "],\"cut\":" + std::to_string(tokens.cut[text]) + "}\n";
}

void write_tokens(const m3e_tokenizer* tokenizer, const std::vector<std::string>& texts,
                  int32_t most, Output& output) {
  const TextPointers pointers(texts);
  Tokens tokens;
  char message[M3E_MESSAGE_SIZE];
  check(m3e_tokenize(tokenizer, pointers.data.data(), pointers.lengths.data(), texts.size(), most,
                     &tokens, message),
        message);
  for (size_t i = 0; i < tokens.texts; ++i) output.write(line_of(tokens, i));
  output.flush();
}

int run(const Arguments& arguments) {
  const std::string path = input_path(arguments.rest(), 1);
  TextInput input(path, field_of(path, arguments.text("--field")));
  const OpenModel model = open_model(arguments);
  const int32_t most =
      arguments.number("--most", m3e_model_max_tokens(model.get()), 0, kMostTokens);
  Output output(arguments.text("--out"));
  std::vector<std::string> texts;
  while (input.next(texts)) write_tokens(m3e_model_tokenizer(model.get()), texts, most, output);
  output.finish();
  return 0;
}

}  // namespace

Command tokenize_command() {
  return {
      {"tokenize", "BUNDLE [FILE]",
       "Write the token ids of each line of FILE, or of standard input, as JSON Lines. No prompt\n"
       "is added.",
       join({{"--field", "NAME", "read JSON Lines and tokenize this field"},
             {"--most", "N", "tokens of a text (default: the model's limit; 0: no limit)"},
             {"--out", "FILE", "write to FILE, whole or not at all (default: standard output)"}},
            kModelOptions),
       kExamples, 1, 2},
      run,
      "texts to token ids"};
}

}  // namespace m3e_cli
