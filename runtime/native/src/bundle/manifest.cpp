// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <algorithm>
#include <cstring>

#include "base64.h"
#include "error.h"
#include "fields.h"

namespace m3e {
namespace {

constexpr double kSchemaVersion = 1;
constexpr int64_t kMostDimensions = 1 << 16;
constexpr int64_t kMostTokens = 1 << 20;
constexpr int64_t kMostValues = 1 << 20;  // of JSON: a bound on the memory that they take

FileEntry read_file_entry(const Json& json, const std::string& where) {
  Fields fields(json, where);
  FileEntry entry{fields.text("path"), fields.integer("size"), fields.text("sha256")};
  fields.end();
  return entry;
}

std::vector<FileEntry> read_file_entries(Fields& fields, const std::string& name) {
  std::vector<FileEntry> entries;
  for (const Json& each : fields.array(name)) {
    const std::string where = fields.path(name) + "[" + std::to_string(entries.size()) + "]";
    entries.push_back(read_file_entry(each, where));
  }
  return entries;
}

void check_mix(Fields& fields) {
  Fields mix(fields.value("mix"), fields.path("mix"));
  for (const auto& [name, value] : fields.value("mix").object()) mix.integer(name);
}

Artifact read_artifact(const Json& json, const std::string& where) {
  Fields fields(json, where);
  Artifact artifact;
  artifact.name = fields.text("name");
  artifact.format = fields.word("format", {"onnx", "native", "tensorrt"});
  if (!fields.value("dialect").is_null()) {
    fields.word("dialect", {"onnxruntime", "standard", "tensorrt"});
  }
  artifact.precision = fields.word("precision", {"fp32", "fp16", "int8"});
  artifact.target = fields.text("target");
  fields.flag("batch_invariant");
  artifact.requirements = fields.texts("requires");
  artifact.files = read_file_entries(fields, "files");
  if (fields.given("fidelity")) {
    artifact.fidelity = read_fidelity(fields.value("fidelity"), fields.path("fidelity"));
  }
  if (fields.given("score_fidelity")) {
    artifact.score_fidelity =
        read_score_fidelity(fields.value("score_fidelity"), fields.path("score_fidelity"));
  }
  if (fields.has("layout")) fields.word("layout", {"padded", "packed"});
  if (fields.has("mix")) check_mix(fields);
  if (fields.has("kept")) fields.list("kept");
  if (fields.has("token_fidelity")) fields.value("token_fidelity");
  fields.end();
  return artifact;
}

void read_source(const Json& json, Manifest& manifest) {
  Fields fields(json, "source");
  manifest.source = fields.text("id");
  fields.text("weights_sha256");
  fields.text("model_type");
  fields.optional_text("hub");
  manifest.revision = fields.optional_text("revision").value_or("");
  fields.end();
}

Route read_route(const Json& json) {
  Fields fields(json, "route");
  Route route{fields.text("name"), fields.texts("tasks")};
  fields.optional_text("default");
  fields.end();
  return route;
}

Classification read_classification(const Json& json) {
  Fields fields(json, "classification");
  Classification classification;
  classification.labels = fields.list("labels");
  classification.is_sigmoid = fields.word("activation", {"identity", "sigmoid"}) == "sigmoid";
  classification.token_types = fields.flag("token_types");
  fields.end();
  return classification;
}

void read_token_outputs(const Json& json, Manifest& manifest) {
  Fields fields(json, "token_outputs");
  fields.value("sparse");
  fields.value("multi_vector");
  if (fields.has("dense")) manifest.gives_dense = fields.flag("dense");
  fields.end();
}

int64_t within(int64_t value, int64_t most, const std::string& name) {
  if (value < 1 || value > most) {
    refuse(name + " is " + std::to_string(value) + ", not from 1 to " + std::to_string(most));
  }
  return value;
}

void read_tokenization(const Json& json, Manifest& manifest) {
  Fields fields(json, "tokenization");
  manifest.tokenizer = read_file_entry(fields.value("file"), fields.path("file"));
  manifest.max_length =
      static_cast<int32_t>(within(fields.integer("max_length"), kMostTokens, "max_length"));
  fields.integer("pad_token_id");
  fields.end();
}

// Little-endian float32, whatever the order of this machine.
std::vector<float> read_floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / 4);
  const auto* at = reinterpret_cast<const uint8_t*>(bytes.data());
  for (float& value : values) {
    const uint32_t word =
        at[0] | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16 | uint32_t{at[3]} << 24;
    std::memcpy(&value, &word, sizeof value);
    at += 4;
  }
  return values;
}

Golden read_golden(const Json& json, int32_t dimension) {
  Fields fields(json, "golden");
  Golden golden;
  golden.texts = fields.list("texts");
  const std::optional<std::string> bytes = base64_decode(fields.text("vectors"));
  if (fields.has("prompt")) golden.prompt = fields.text("prompt");
  if (fields.has("passages")) golden.passages = fields.list("passages");
  if (fields.has("tokens")) fields.value("tokens");
  fields.end();
  if (!golden.passages.empty() && golden.passages.size() != golden.texts.size()) {
    refuse("there are more or fewer golden passages than texts");
  }
  const size_t row = static_cast<size_t>(dimension) * sizeof(float);
  if (!bytes || bytes->size() != golden.texts.size() * row) {
    refuse("golden vectors of another shape than dimension and texts say");
  }
  golden.vectors = read_floats(*bytes);
  return golden;
}

void read_dimensions(Fields& fields, Manifest& manifest) {
  manifest.dimension =
      static_cast<int32_t>(within(fields.integer("dimension"), kMostDimensions, "dimension"));
  const int64_t kept =
      fields.given("truncate_dim") ? fields.integer("truncate_dim") : manifest.dimension;
  manifest.output_dimension =
      static_cast<int32_t>(within(kept, manifest.dimension, "truncate_dim"));
}

void read_labels(Fields& fields, Manifest& manifest) {
  if (!fields.given("classification")) return;
  manifest.classification = read_classification(fields.value("classification"));
  const size_t labels = manifest.classification->labels.size();
  if (labels != static_cast<size_t>(manifest.dimension)) {
    refuse("there are " + std::to_string(labels) + " labels for " +
           std::to_string(manifest.dimension) + " logits");
  }
}

void read_prompts(Fields& fields, Manifest& manifest) {
  manifest.prompts = fields.texts("prompts");
  if (!fields.value("default_prompt_name").is_null()) {
    manifest.default_prompt_name = fields.text("default_prompt_name");
    if (!manifest.prompts.count(*manifest.default_prompt_name)) {
      refuse("default prompt '" + *manifest.default_prompt_name + "' has no text");
    }
  }
  if (fields.has("include_prompt")) manifest.include_prompt = fields.flag("include_prompt");
  if (fields.given("route")) manifest.route = read_route(fields.value("route"));
}

void read_artifacts(Fields& fields, Manifest& manifest) {
  for (const Json& each : fields.array("artifacts")) {
    const std::string where = "artifacts[" + std::to_string(manifest.artifacts.size()) + "]";
    manifest.artifacts.push_back(read_artifact(each, where));
    const Artifact& artifact = manifest.artifacts.back();
    if (artifact.files.empty()) refuse(where + " has no files");
    const bool is_measured = manifest.classification ? artifact.score_fidelity.has_value()
                                                     : artifact.fidelity.has_value();
    if (!is_measured) refuse(where + " has no measured fidelity");
    if (artifact.format == "tensorrt" && artifact.files.size() < 2) {
      refuse(where + " is an engine without the graph that it was built from");
    }
  }
  if (manifest.artifacts.empty()) refuse("there are no artifacts");
}

// Before everything else, so that a newer manifest is not called a broken one.
void check_version(const Json& json) {
  if (!json.is_object()) refuse("it is not a JSON object");
  const Json* version = json.find("schema_version");
  const bool known =
      version && version->kind() == Json::Kind::number && version->number() == kSchemaVersion;
  if (!known) {
    refuse(
        "this library reads schema version 1, and the manifest has another schema version. Upgrade "
        "m3e-runtime or export the bundle again");
  }
}

void bound_values(std::string_view json) {
  const auto is_separator = [](char c) { return c == ',' || c == '[' || c == '{'; };
  if (std::count_if(json.begin(), json.end(), is_separator) > kMostValues) {
    refuse("it has more values than any manifest");
  }
}

}  // namespace

std::vector<const FileEntry*> Manifest::entries() const {
  std::vector<const FileEntry*> all{&tokenizer};
  for (const FileEntry& each : files) all.push_back(&each);
  for (const Artifact& artifact : artifacts) {
    for (const FileEntry& each : artifact.files) all.push_back(&each);
  }
  return all;
}

Manifest Manifest::parse(std::string_view text) {
  bound_values(text);
  const Json json = Json::parse(text);
  check_version(json);
  Fields fields(json, "");
  Manifest manifest;
  fields.integer("schema_version");
  fields.text("exporter");
  read_source(fields.value("source"), manifest);
  manifest.licence = fields.text("licence");
  read_dimensions(fields, manifest);
  read_labels(fields, manifest);
  manifest.pooling = fields.text("pooling");
  manifest.normalize = fields.flag("normalize");
  read_tokenization(fields.value("tokenization"), manifest);
  manifest.similarity = fields.word("similarity", {"cosine", "dot", "euclidean", "manhattan"});
  read_prompts(fields, manifest);
  read_artifacts(fields, manifest);
  manifest.golden = read_golden(fields.value("golden"), manifest.output_dimension);
  if (fields.given("token_outputs")) read_token_outputs(fields.value("token_outputs"), manifest);
  if (fields.has("files")) manifest.files = read_file_entries(fields, "files");
  fields.end();
  return manifest;
}

}  // namespace m3e
