// SPDX-License-Identifier: Apache-2.0
// A loaded bundle: texts to vectors, or pairs of texts to scores. The references are
// m3e_runtime/encoder.py and m3e_runtime/reranker.py.
#pragma once

#include <memory>
#include <string>

#include "bundle.h"
#include "c_api.h"
#include "outputs.h"
#include "scores.h"
#include "stop.h"
#include "texts.h"

namespace m3e {

class Model {
 public:
  // See m3e_open. `options` as read_options gives them.
  Model(const std::string& path, const m3e_options& options);

  const Bundle& bundle() const { return bundle_; }
  const Artifact& artifact() const { return artifact_; }
  m3e_encoder& encoder() const { return *encoder_; }
  const m3e_tokenizer& tokenizer() const { return *tokenizer_; }

  // What `embedding` asks for. Throws Error(argument) if it asks for what this model does not give.
  OutputOptions output_options(const m3e_embedding& embedding) const;
  // Throws Error(argument) if `scoring` asks for what this model does not give.
  ScoreOptions score_options(const m3e_scoring& scoring) const;
  // The prompt before each text; both may be null.
  std::string prompt(const char* name, const char* prompt) const;

  // Throws Error(argument) that says what to call instead.
  void require_vectors() const;
  void require_scores() const;

  // Writes output.vector_bytes() bytes for each text to `vectors`. See TextReader::read for `cut`.
  // Several threads may call it at once.
  void embed(const PromptedTexts& given, const OutputOptions& output, void* vectors, int64_t* cut,
             Stop& stop) const;

  // Writes a score of each label for each text or pair to `scores`; otherwise as embed().
  void score(const PromptedTexts& given, const ScoreOptions& options, float* scores, int64_t* cut,
             Stop& stop) const;

  // The least cosine between the golden vectors and those that the model gives.
  float least_golden_cosine() const;

  // The largest difference between a golden logit and the one that the model gives.
  float largest_golden_difference() const;

 private:
  int64_t labels() const { return bundle_.manifest().dimension; }
  void load(const m3e_options& options);
  void check_weights(const std::string& weights) const;
  void load_tokenizer(bool verify, int32_t threads);

  const Bundle bundle_;
  const Artifact& artifact_;
  mutable ThreadPool pool_;
  std::unique_ptr<m3e_tokenizer> tokenizer_;
  std::unique_ptr<m3e_encoder> encoder_;
  std::unique_ptr<TextReader> reader_;
};

// The least cosine of golden vectors with which an artifact passes: a little below what the export
// measured, as other processors round otherwise.
double golden_floor(const Artifact& artifact);

// The largest difference of golden logits with which an artifact passes, likewise.
double golden_ceiling(const Artifact& artifact, const Golden& golden);

}  // namespace m3e
