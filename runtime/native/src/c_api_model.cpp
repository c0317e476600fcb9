// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "bundle/choice.h"
#include "bundle/describe.h"
#include "bundle/model.h"
#include "c_api.h"

struct m3e_model {
  m3e::Model model;
};

using m3e::guarded;
using m3e::require;

namespace {

m3e_embedding read_embedding(const m3e_embedding* given) {
  m3e_embedding embedding = M3E_EMBEDDING;
  m3e::read_sized(given, &embedding, sizeof embedding, alignof(m3e_embedding), "m3e_embedding");
  return embedding;
}

m3e_scoring read_scoring(const m3e_scoring* given) {
  m3e_scoring scoring = M3E_SCORING;
  m3e::read_sized(given, &scoring, sizeof scoring, alignof(m3e_scoring), "m3e_scoring");
  return scoring;
}

void check_texts(const char* const* texts, const size_t* lengths, size_t count) {
  require(texts, "texts");
  require(lengths, "lengths");
  for (size_t i = 0; i < count; ++i) require(texts[i] || lengths[i] == 0, "a text");
}

void verify(const m3e::Bundle& bundle, const char* artifact) {
  bool found = false;
  bundle.verify(bundle.manifest().tokenizer);
  for (const m3e::FileEntry& each : bundle.manifest().files) bundle.verify(each);
  for (const m3e::Artifact& each : bundle.manifest().artifacts) {
    if (artifact && each.name != artifact) continue;
    bundle.verify(each);
    found = true;
  }
  if (!found) m3e::choose_artifact(bundle, artifact);  // throws, naming those that there are
}

char* copy(const std::string& text) {
  auto* copied = static_cast<char*>(std::malloc(text.size() + 1));
  if (!copied) throw std::bad_alloc();
  std::memcpy(copied, text.c_str(), text.size() + 1);
  return copied;
}

// Throws Error(integrity) if the model does not give its golden vectors or logits.
void check_golden(const m3e::Model& model, float* found) {
  const bool gives_scores = model.bundle().manifest().classification.has_value();
  const float measured =
      gives_scores ? model.largest_golden_difference() : model.least_golden_cosine();
  if (found) *found = measured;
  const double bound = gives_scores
                           ? m3e::golden_ceiling(model.artifact(), model.bundle().manifest().golden)
                           : m3e::golden_floor(model.artifact());
  if (gives_scores ? measured <= bound : measured >= bound) return;
  throw m3e::Error(m3e::ErrorKind::integrity,
                   model.artifact().name + ": a golden " +
                       (gives_scores ? "score differs by " : "text has the cosine ") +
                       std::to_string(measured) + ", the " + (gives_scores ? "most" : "least") +
                       " allowed is " + std::to_string(bound));
}

}  // namespace

m3e_status m3e_open(const char* path, const m3e_options* options, m3e_model** model,
                    char* message) {
  if (model) *model = nullptr;
  return guarded(message, [&] {
    require(path, "path");
    require(model, "model");
    *model = new m3e_model{m3e::Model(path, m3e::read_options(options))};
  });
}

void m3e_close(m3e_model* model) { delete model; }

size_t m3e_vector_size(const m3e_model* model, const m3e_embedding* embedding) {
  size_t bytes = 0;
  guarded(nullptr, [&] {
    require(model, "model");
    model->model.require_vectors();
    const m3e_embedding asked = read_embedding(embedding);
    if (asked.output < M3E_FLOAT32 || asked.output > M3E_UBINARY) return;
    bytes = model->model.output_options(asked).vector_bytes();
  });
  return bytes;
}

m3e_status m3e_embed(m3e_model* model, const char* const* texts, const size_t* lengths,
                     size_t count, const m3e_embedding* embedding, void* vectors, int64_t* cut,
                     char* message) {
  return guarded(message, [&] {
    require(model, "model");
    model->model.require_vectors();
    const m3e_embedding asked = read_embedding(embedding);
    const m3e::OutputOptions output = model->model.output_options(asked);
    output.check();
    const std::string prompt = model->model.prompt(asked.prompt_name, asked.prompt);
    if (count == 0) return;
    check_texts(texts, lengths, count);
    require(vectors, "vectors");
    m3e::Stop stop(asked.stop, asked.context);
    model->model.embed({{texts, lengths, count}, prompt}, output, vectors, cut, stop);
  });
}

m3e_status m3e_score(m3e_model* model, const char* const* queries, const size_t* query_lengths,
                     const char* const* passages, const size_t* passage_lengths, size_t count,
                     const m3e_scoring* scoring, float* scores, int64_t* cut, char* message) {
  return guarded(message, [&] {
    require(model, "model");
    model->model.require_scores();
    const m3e_scoring asked = read_scoring(scoring);
    const m3e::ScoreOptions options = model->model.score_options(asked);
    const std::string prompt = model->model.prompt(asked.prompt_name, asked.prompt);
    if (count == 0) return;
    check_texts(queries, query_lengths, count);
    if (passages) check_texts(passages, passage_lengths, count);
    require(scores, "scores");
    m3e::Stop stop(asked.stop, asked.context);
    const m3e::Utf8Texts seconds{passages, passage_lengths, count};
    model->model.score({{queries, query_lengths, count}, prompt, seconds}, options, scores, cut,
                       stop);
  });
}

m3e_encoder* m3e_model_encoder(const m3e_model* model) { return &model->model.encoder(); }
const m3e_tokenizer* m3e_model_tokenizer(const m3e_model* model) {
  return &model->model.tokenizer();
}

int32_t m3e_model_dimension(const m3e_model* model) {
  return model->model.bundle().manifest().output_dimension;
}
int32_t m3e_model_max_tokens(const m3e_model* model) {
  return model->model.bundle().manifest().max_length;
}
int32_t m3e_model_labels(const m3e_model* model) {
  const auto& classification = model->model.bundle().manifest().classification;
  return classification ? static_cast<int32_t>(classification->labels.size()) : 0;
}
const char* m3e_model_label(const m3e_model* model, int32_t label) {
  if (label < 0 || label >= m3e_model_labels(model)) return nullptr;
  return model->model.bundle()
      .manifest()
      .classification->labels[static_cast<size_t>(label)]
      .c_str();
}
const char* m3e_model_artifact(const m3e_model* model) {
  return model->model.artifact().name.c_str();
}

m3e_status m3e_model_check(m3e_model* model, float* found, char* message) {
  return guarded(message, [&] {
    require(model, "model");
    check_golden(model->model, found);
  });
}

m3e_status m3e_similarity(const m3e_model* model, const float* a, size_t a_count, const float* b,
                          size_t b_count, int32_t dimension, float* scores, char* message) {
  return guarded(message, [&] {
    require(model, "model");
    if (a_count == 0 || b_count == 0) return;
    require(a && b, "a or b");
    require(scores, "scores");
    if (dimension < 1) throw m3e::Error(m3e::ErrorKind::argument, "dimension is below 1");
    const auto size = static_cast<size_t>(dimension);
    const std::string& function = model->model.bundle().manifest().similarity;
    for (size_t i = 0; i < a_count; ++i) {
      for (size_t j = 0; j < b_count; ++j) {
        scores[i * b_count + j] = m3e::similarity(a + i * size, b + j * size, size, function);
      }
    }
  });
}

m3e_status m3e_bundle_info(const char* path, char** json, char* message) {
  if (json) *json = nullptr;
  return guarded(message, [&] {
    require(path, "path");
    require(json, "json");
    *json = copy(m3e::describe(m3e::Bundle(path)));
  });
}

void m3e_string_free(char* string) { std::free(string); }

m3e_status m3e_bundle_verify(const char* path, const char* artifact, char* message) {
  return guarded(message, [&] {
    require(path, "path");
    verify(m3e::Bundle(path), artifact);
  });
}
