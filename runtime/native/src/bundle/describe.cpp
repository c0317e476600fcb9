// SPDX-License-Identifier: Apache-2.0
#include "describe.h"

#include "choice.h"
#include "error.h"
#include "json_writer.h"

namespace m3e {
namespace {

// The artifact that m3e_open takes, or nothing.
std::string chosen_name(const Bundle& bundle) {
  try {
    return choose_artifact(bundle, nullptr).name;
  } catch (const Error&) {
    return "";
  }
}

void optional(JsonWriter& json, const std::string& text) {
  text.empty() ? json.null() : json.value(text);
}

void fidelity(JsonWriter& json, const Fidelity& fidelity) {
  json.open('{').key("oracle").value(fidelity.oracle).key("texts").value(fidelity.texts);
  json.key("mean_cosine").value(fidelity.mean_cosine).key("p1_cosine").value(fidelity.p1_cosine);
  json.key("min_cosine").value(fidelity.min_cosine);
  json.key("overlap_at_10").value(fidelity.overlap_at_10).close('}');
}

void fidelity(JsonWriter& json, const ScoreFidelity& fidelity) {
  json.open('{').key("oracle").value(fidelity.oracle).key("groups").value(fidelity.groups);
  json.key("pairs").value(fidelity.pairs).key("mean_difference").value(fidelity.mean_difference);
  json.key("max_difference").value(fidelity.max_difference);
  json.key("order_kept").value(fidelity.order_kept);
  json.key("ndcg_at_10").value(fidelity.ndcg_at_10).close('}');
}

template <class Measured>
void optional_fidelity(JsonWriter& json, const Measured& measured) {
  measured ? fidelity(json, *measured) : void(json.null());
}

void labels(JsonWriter& json, const std::optional<Classification>& classification) {
  if (!classification) return void(json.null());
  json.open('[');
  for (const std::string& each : classification->labels) json.value(each);
  json.close(']');
}

std::string activation(const std::optional<Classification>& classification) {
  if (!classification) return "";
  return classification->is_sigmoid ? "sigmoid" : "identity";
}

void artifact(JsonWriter& json, const Artifact& artifact) {
  int64_t bytes = 0;
  for (const FileEntry& file : artifact.files) {
    if (file.size > 0 && file.size < INT64_MAX - bytes) bytes += file.size;
  }
  json.open('{').key("name").value(artifact.name).key("format").value(artifact.format);
  json.key("precision").value(artifact.precision).key("target").value(artifact.target);
  json.key("bytes").value(bytes).key("why_not_here");
  optional(json, why_not_here(artifact));
  json.key("fidelity");
  optional_fidelity(json, artifact.fidelity);
  json.key("score_fidelity");
  optional_fidelity(json, artifact.score_fidelity);
  json.close('}');
}

}  // namespace

std::string describe(const Bundle& bundle) {
  const Manifest& manifest = bundle.manifest();
  JsonWriter json;
  json.open('{').key("bundle").value(bundle.path()).key("source").value(manifest.source);
  json.key("revision");
  optional(json, manifest.revision);
  json.key("licence").value(manifest.licence).key("dimension").value(manifest.output_dimension);
  json.key("full_dimension").value(manifest.dimension);
  json.key("max_tokens").value(manifest.max_length).key("pooling").value(manifest.pooling);
  json.key("normalize").value(manifest.normalize);
  json.key("include_prompt").value(manifest.include_prompt);
  json.key("similarity").value(manifest.similarity).key("prompts").value(manifest.prompts);
  json.key("default_prompt_name");
  optional(json, manifest.default_prompt_name.value_or(""));
  json.key("route");
  optional(json, manifest.route ? manifest.route->name : "");
  json.key("labels");
  labels(json, manifest.classification);
  json.key("activation");
  optional(json, activation(manifest.classification));
  json.key("artifact");
  optional(json, chosen_name(bundle));
  json.key("artifacts").open('[');
  for (const Artifact& each : manifest.artifacts) artifact(json, each);
  return json.close(']').close('}').text();
}

}  // namespace m3e
