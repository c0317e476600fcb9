// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "failure.h"
#include "lines.h"
#include "model.h"
#include "progress.h"
#include "vector_files.h"

namespace m3e_cli {
namespace {

constexpr int32_t kMostDimensions = 1 << 16;

const std::vector<Option> kOptions = {
    {"--field", "NAME", "read JSON Lines and encode this field (default for *.jsonl: text)"},
    {"--output", "FORMAT", "jsonl, npy or raw (default: jsonl); npy needs -o"},
    {"--normalize", nullptr, "scale each vector to unit length"},
    {"--truncate-dim", "N", "keep this many leading dimensions"},
    {"--precision", "NAME", "float32, float16, int8, uint8, binary or ubinary"},
    {"--ranges", "FILE", "float32 [2, dimension] for int8 and uint8: .npy, else raw"},
    {"--cut", nullptr, "jsonl: add the number of tokens that were cut off each text"},
    {"--out", "FILE", "write to FILE, whole or not at all (default: standard output)"},
};

constexpr const char* kExamples =
    "  echo 今天天气很好 | m3e embed m3e-small-int8\n"
    "  m3e embed m3e-small-int8 texts.txt --output npy -o vectors.npy --normalize\n"
    "  m3e embed m3e-small-int8 rows.jsonl --field title --precision float16\n"
    "  m3e embed bge-small queries.txt --prompt-name query --output raw | ./index\n";

// What is asked for, and what its pointers point to.
struct Request {
  explicit Request(const Arguments& arguments)
      : precision(precision_named(arguments.word("--precision", kPrecisions))) {
    embedding.prompt_name = arguments.text_or_null("--prompt-name");
    embedding.prompt = arguments.text_or_null("--prompt");
    embedding.truncate_dim = arguments.number("--truncate-dim", 0, 1, kMostDimensions);
    embedding.normalize = arguments.has("--normalize");
    embedding.output = precision.output;
  }

  void take_ranges(const Arguments& arguments, const m3e_model* model) {
    if (!arguments.has("--ranges")) return;
    if (precision.output != M3E_INT8 && precision.output != M3E_UINT8) {
      throw Failure("--ranges is for --precision int8 and uint8", kUsage);
    }
    const size_t dimension = m3e_vector_size(model, &embedding);  // a byte for each
    ranges = read_ranges(arguments.text("--ranges"), static_cast<int32_t>(dimension));
    embedding.ranges = ranges.data();
  }

  const Precision& precision;
  m3e_embedding embedding = M3E_EMBEDDING;
  std::vector<float> ranges;
};

void embed(m3e_model* model, const Request& request, TextInput& input, bool counts_cut,
           VectorWriter& writer) {
  const size_t bytes = m3e_vector_size(model, &request.embedding);
  std::vector<std::string> texts;
  std::vector<uint8_t> vectors;
  std::vector<int64_t> cut;
  Progress progress;
  char message[M3E_MESSAGE_SIZE];
  const auto encode = [&] {
    const TextPointers pointers(texts);
    vectors.resize(texts.size() * bytes);
    cut.resize(texts.size());
    check(m3e_embed(model, pointers.data.data(), pointers.lengths.data(), texts.size(),
                    &request.embedding, vectors.data(), counts_cut ? cut.data() : nullptr, message),
          message);
  };
  encode();  // no texts: refuses an unknown prompt before any input is read
  while (input.next(texts)) {
    encode();
    writer.write(vectors.data(), texts.size(), counts_cut ? cut.data() : nullptr);
    progress.add(texts.size());
  }
}

int run(const Arguments& arguments) {
  const std::string format = arguments.word("--output", {"jsonl", "npy", "raw"});
  if (format == "npy" && !arguments.has("--out")) {
    throw Failure("--output npy needs -o FILE: its first bytes are written last", kUsage);
  }
  if (arguments.has("--cut") && format != "jsonl") {
    throw Failure("--cut is for --output jsonl", kUsage);
  }
  Request request(arguments);
  const std::string path = input_path(arguments.rest(), 1);
  TextInput input(path, field_of(path, arguments.text("--field")));
  const OpenModel model = open_model(arguments);
  request.take_ranges(arguments, model.get());
  const size_t bytes = m3e_vector_size(model.get(), &request.embedding);
  Output output(arguments.text("--out"));
  const auto writer = make_writer(format, request.precision, bytes, output);
  embed(model.get(), request, input, arguments.has("--cut"), *writer);
  writer->finish();
  output.finish();
  return 0;
}

}  // namespace

Command embed_command() {
  return {{"embed", "BUNDLE [FILE]",
           "Encode each line of FILE, or of standard input, and write one vector for each.",
           join(join(kOptions, kPromptOptions), kModelOptions), kExamples, 1, 2},
          run,
          "texts to vectors"};
}

}  // namespace m3e_cli
