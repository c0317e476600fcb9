// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "choice.h"
#include "error.h"
#include "file.h"
#include "prompts.h"

namespace m3e {
namespace {

constexpr size_t kMostWindowTexts = 4096;
constexpr size_t kMostWindowFloats = 1 << 20;  // of vectors that are not yet in the output's form

// Calls both, at the same time if there are two threads. Throws what the first one throws, or else
// the second one.
template <class First, class Second>
void both(ThreadPool& pool, int threads, First first, Second second) {
  std::exception_ptr errors[2];
  const auto call = [&](int which) {
    try {
      which == 0 ? first() : second();
    } catch (...) {
      errors[which] = std::current_exception();
    }
  };
  pool.run(std::min(threads, 2), [&](Team& team, int rank) {
    for (int which = rank; which < 2; which += team.size()) call(which);
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

// Strings as the tokenizer takes them. They must stay where they are.
class TextViews {
 public:
  explicit TextViews(const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      data_.push_back(text.data());
      lengths_.push_back(text.size());
    }
  }
  Utf8Texts texts() const { return {data_.data(), lengths_.data(), data_.size()}; }

 private:
  std::vector<const char*> data_;
  std::vector<size_t> lengths_;
};

double cosine(const float* a, const float* b, int32_t dimension) {
  double ab = 0, aa = 0, bb = 0;
  for (int32_t i = 0; i < dimension; ++i) {
    const double x = a[i], y = b[i];
    ab += x * y, aa += x * x, bb += y * y;
  }
  return ab / std::max(std::sqrt(aa) * std::sqrt(bb), 1e-12);
}

}  // namespace

Model::Model(const std::string& path, const m3e_options& options)
    : bundle_(path),
      artifact_(choose_artifact(bundle_, options.artifact)),
      pool_(checked_threads(options.threads)) {
  load(options);
}

void Model::load(const m3e_options& options) {
  const bool verify = !options.skip_verification;
  // Hashing the weights takes as long as everything else together.
  both(
      pool_, options.threads,
      [&] {
        if (verify) bundle_.verify(artifact_);
      },
      [&] { load_tokenizer(verify, options.threads); });
  const std::string weights = bundle_.resolve(artifact_.files[0]);
  try {
    encoder_.reset(new m3e_encoder{Engine(weights, options.threads, options.instruction_set)});
  } catch (const Error& error) {
    throw Error(error.kind, weights + ": " + error.what());
  }
  check_weights(weights);
}

void Model::check_weights(const std::string& weights) const {
  const Manifest& manifest = bundle_.manifest();
  const Sizes& sizes = encoder_->engine.sizes();
  if (sizes.dimension != manifest.dimension) {
    refuse(weights + ": gives " + std::to_string(sizes.dimension) +
           " dimensions, the manifest says " + std::to_string(manifest.dimension) +
           "; export the bundle again");
  }
  if (manifest.classification && manifest.classification->token_types && sizes.token_types == 1) {
    refuse(weights +
           ": has no token types, the manifest says that it has; export the bundle again");
  }
}

void Model::load_tokenizer(bool verify, int32_t threads) {
  const FileEntry& entry = bundle_.manifest().tokenizer;
  if (verify) bundle_.verify(entry);
  const std::string path = bundle_.resolve(entry);
  const MappedFile json(path);
  const std::string_view content(reinterpret_cast<const char*>(json.data()), json.size());
  try {
    tokenizer_.reset(new m3e_tokenizer{Tokenizer(content), threads});
  } catch (const Error& error) {
    throw Error(error.kind, path + ": " + error.what());
  }
  reader_ = std::make_unique<TextReader>(tokenizer_->tokenizer, bundle_.manifest().max_length,
                                         pool_, threads);
}

OutputOptions Model::output_options(const m3e_embedding& embedding) const {
  const Manifest& manifest = bundle_.manifest();
  const int32_t kept = embedding.truncate_dim ? embedding.truncate_dim : manifest.output_dimension;
  if (kept < 1 || kept > manifest.dimension) {
    throw Error(ErrorKind::argument, "truncate_dim is " + std::to_string(kept) +
                                         ", not from 1 to " + std::to_string(manifest.dimension));
  }
  return {kept, embedding.normalize != 0, embedding.output, embedding.ranges};
}

ScoreOptions Model::score_options(const m3e_scoring& scoring) const {
  if (scoring.activation < M3E_ACTIVATION_DEFAULT || scoring.activation > M3E_SIGMOID) {
    throw Error(ErrorKind::argument,
                "activation " + std::to_string(scoring.activation) + " is unknown");
  }
  const bool is_default = scoring.activation == M3E_ACTIVATION_DEFAULT;
  const bool is_sigmoid = is_default ? bundle_.manifest().classification->is_sigmoid
                                     : scoring.activation == M3E_SIGMOID;
  return {is_sigmoid, scoring.softmax != 0};
}

std::string Model::prompt(const char* name, const char* prompt) const {
  return choose_prompt(bundle_.manifest(), name, prompt);
}

void Model::require_vectors() const {
  if (bundle_.manifest().classification) {
    throw Error(
        ErrorKind::argument,
        bundle_.path() +
            ": gives scores of pairs of texts, not vectors; use m3e_score, or `m3e rerank`");
  }
  if (!bundle_.manifest().gives_dense) {
    throw Error(ErrorKind::argument,
                bundle_.path() +
                    ": gives outputs of tokens, and no vector of a text; use m3e_run_outputs with "
                    "its weights, or the Python package");
  }
}

void Model::require_scores() const {
  if (bundle_.manifest().classification) return;
  throw Error(
      ErrorKind::argument,
      bundle_.path() + ": gives vectors of texts, not scores; use m3e_embed, or `m3e embed`");
}

void Model::embed(const PromptedTexts& given, const OutputOptions& output, void* vectors,
                  int64_t* cut, Stop& stop) const {
  const int32_t full = bundle_.manifest().dimension;
  const bool in_place = output.is_identity(full);
  const size_t most = in_place ? kMostWindowTexts
                               : std::max<size_t>(1, kMostWindowFloats / static_cast<size_t>(full));
  const bool pools_prompts = bundle_.manifest().include_prompt;
  const int64_t prompt_length = pools_prompts ? 0 : reader_->prompt_length(given.prompt);
  std::vector<float> engine_vectors;
  std::vector<int64_t> prompts;
  auto* result = static_cast<uint8_t*>(vectors);
  for (size_t begin = 0, count; begin < given.texts.count; begin += count) {
    count = reader_->window(given, begin, std::min(most, kMostWindowTexts));
    const TokenWindow tokens = reader_->read(given, begin, count, cut);
    if (!in_place) engine_vectors.resize(count * static_cast<size_t>(full));
    float* rows = in_place ? reinterpret_cast<float*>(result) : engine_vectors.data();
    prompts.assign(count, prompt_length);
    encoder_->engine.encode({tokens.ids.data(), tokens.offsets.data(), static_cast<int64_t>(count),
                             pools_prompts ? nullptr : prompts.data()},
                            {rows, nullptr}, stop);
    for (size_t i = 0; i < count; ++i, result += output.vector_bytes()) {
      output.apply(rows + i * static_cast<size_t>(full), result);
    }
  }
}

void Model::score(const PromptedTexts& given, const ScoreOptions& options, float* scores,
                  int64_t* cut, Stop& stop) const {
  const bool is_typed = given.are_pairs() && bundle_.manifest().classification->token_types;
  for (size_t begin = 0, count; begin < given.texts.count; begin += count) {
    count = reader_->window(given, begin, kMostWindowTexts);
    const TokenWindow tokens = reader_->read(given, begin, count, cut);
    encoder_->engine.encode({tokens.ids.data(), tokens.offsets.data(), static_cast<int64_t>(count),
                             nullptr, is_typed ? tokens.types.data() : nullptr},
                            {scores, nullptr}, stop);
    for (size_t i = 0; i < count; ++i, scores += labels()) {
      options.apply(scores, static_cast<int32_t>(labels()));
    }
  }
}

float Model::largest_golden_difference() const {
  const Golden& golden = bundle_.manifest().golden;
  const TextViews texts(golden.texts), passages(golden.passages);
  const Utf8Texts seconds =
      golden.passages.empty() ? Utf8Texts{nullptr, nullptr, 0} : passages.texts();
  std::vector<float> found(golden.vectors.size());
  Stop never(nullptr, nullptr);
  score({texts.texts(), golden.prompt, seconds}, {}, found.data(), nullptr, never);
  float largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const float difference = std::fabs(found[i] - golden.vectors[i]);
    largest = difference <= largest ? largest : difference;  // also if it is not a number
  }
  return largest;
}

float Model::least_golden_cosine() const {
  const Golden& golden = bundle_.manifest().golden;
  const TextViews texts(golden.texts);
  OutputOptions output;
  output.dimension = bundle_.manifest().output_dimension;
  std::vector<float> found(golden.vectors.size());
  Stop never(nullptr, nullptr);
  embed({texts.texts(), golden.prompt}, output, found.data(), nullptr, never);
  double least = 1;
  for (size_t row = 0; row < golden.texts.size(); ++row) {
    const size_t at = row * static_cast<size_t>(output.dimension);
    const double one = cosine(&found[at], &golden.vectors[at], output.dimension);
    least = one >= least ? least : one;  // also if it is not a number
  }
  return static_cast<float>(least);
}

double golden_floor(const Artifact& artifact) {
  const double measured = artifact.fidelity->min_cosine;
  return std::min(measured, 1.0) - std::max(1e-5, 0.25 * (1 - measured));
}

double golden_ceiling(const Artifact& artifact, const Golden& golden) {
  double scale = 1;
  for (const float logit : golden.vectors) scale = std::max(scale, std::fabs(double{logit}));
  const double measured = artifact.score_fidelity->max_difference;
  return measured + std::max(1e-5 * scale, 0.25 * measured);
}

}  // namespace m3e
