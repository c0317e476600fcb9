// SPDX-License-Identifier: Apache-2.0
// Whole forward passes of small random models through the C interface: every precision on every
// instruction set that runs here, and poolings, heads and layers of all kinds. Run it under the
// sanitizers.
//
//   forward_tests [FOLDER FOR A FILE]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "m3e.h"
#include "random_model.h"

#if defined(M3E_EMULATED_AMX)
#include "emulated_tiles.h"
#endif

namespace {

using m3e::RandomModel;
using Vectors = std::vector<std::vector<float>>;

struct Free {
  void operator()(m3e_encoder* encoder) const { m3e_free(encoder); }
};
using Encoder = std::unique_ptr<m3e_encoder, Free>;

constexpr int kInvalidWord = 7;
constexpr float kAnyCosine = 0.98f;  // between precisions
std::string doing;

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED %s: %s\n", doing.c_str(), what.c_str());
  std::exit(1);
}

Encoder load(const std::string& path, int threads, const std::string& set) {
  m3e_options options = M3E_OPTIONS;
  options.threads = threads;
  options.instruction_set = set.c_str();
  char message[M3E_MESSAGE_SIZE];
  m3e_encoder* encoder = nullptr;
  if (m3e_load(path.c_str(), &options, &encoder, message) != M3E_OK) fail(message);
  return Encoder(encoder);
}

std::vector<std::string> instruction_sets() {
  std::istringstream all(m3e_instruction_sets());
  std::vector<std::string> names;
  for (std::string name; all >> name;) names.push_back(name);
  return names;
}

// The fastest, portable, and emulated tiles if there are any.
std::vector<std::string> some_sets(const std::vector<std::string>& all) {
  std::vector<std::string> some{all.front(), all.back()};
  if (std::find(all.begin(), all.end(), "amx_emulated") != all.end()) {
    some.insert(some.begin() + 1, "amx_emulated");
  }
  return some;
}

// Between calls no thread of the process keeps tiles: those of the caller's pool are the caller's.
void check_that_tiles_are_released() {
#if defined(M3E_EMULATED_AMX)
  if (m3e::emulated::configured_threads() != 0) fail("a thread has kept its tiles");
#endif
}

using Text = std::vector<int32_t>;

// Without kInvalidWord. Longest text: as long as the model allows.
std::vector<Text> make_texts() {
  std::mt19937 random(5);
  std::vector<Text> texts;
  for (const int length : {1, 60, 5, 0, 17, 300, 33, 2, 90}) {
    Text text(static_cast<size_t>(length));
    for (int32_t& id : text) id = static_cast<int32_t>(8 + random() % 92);
    texts.push_back(text);
  }
  return texts;
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

// The types of a text's tokens: 0 at first, then the others.
std::vector<int32_t> types_of(const Text& text, int32_t types) {
  std::vector<int32_t> found;
  for (size_t i = 0; i < text.size(); ++i) {
    found.push_back(static_cast<int32_t>(i * static_cast<size_t>(types) / text.size()));
  }
  return found;
}

// Appends the outputs of each text's tokens and the weights of terms to its vector, which must be
// the same beside them.
void add_other_outputs(m3e_encoder* encoder, const m3e_inputs& inputs, Vectors& vectors) {
  const auto dimension = static_cast<size_t>(m3e_dimension(encoder)),
             size = static_cast<size_t>(m3e_token_vector_size(encoder)),
             tokens = static_cast<size_t>(inputs.offsets[inputs.texts]),
             terms = m3e_has_term_weights(encoder)
                         ? static_cast<size_t>(m3e_vocabulary_size(encoder))
                         : 0;
  std::vector<float> again(inputs.texts * dimension), weights(tokens), rows(tokens * size),
      of_terms(inputs.texts * terms, -1.0f);
  m3e_outputs outputs = M3E_OUTPUTS;
  outputs.vectors = again.data();
  if (m3e_has_token_weights(encoder)) outputs.token_weights = weights.data();
  if (size) outputs.token_vectors = rows.data();
  if (terms) outputs.term_weights = of_terms.data();
  char message[M3E_MESSAGE_SIZE];
  if (m3e_run_outputs(encoder, &inputs, &outputs, nullptr, nullptr, message) != M3E_OK) {
    fail(message);
  }
  for (size_t text = 0; text < inputs.texts; ++text) {
    std::vector<float>& vector = vectors[text];
    if (std::memcmp(vector.data(), &again[text * dimension], dimension * sizeof(float)) != 0) {
      fail("other bytes beside outputs of tokens");
    }
    const int64_t begin = inputs.offsets[text], end = inputs.offsets[text + 1];
    vector.insert(vector.end(), weights.begin() + begin, weights.begin() + end);
    const auto width = static_cast<int64_t>(size);
    vector.insert(vector.end(), rows.begin() + begin * width, rows.begin() + end * width);
    const auto first = of_terms.begin() + static_cast<int64_t>(text * terms);
    vector.insert(vector.end(), first, first + static_cast<int64_t>(terms));
    if (terms && *std::min_element(vector.end() - static_cast<int64_t>(terms), vector.end()) < 0) {
      fail("a weight of a term below zero");
    }
  }
}

Vectors encode(m3e_encoder* encoder, const std::vector<Text>& texts, int32_t most_types = 1 << 16) {
  std::vector<int32_t> ids, types;
  std::vector<int64_t> offsets{0}, prompts;
  for (const Text& text : texts) {
    const std::vector<int32_t> own = types_of(text, std::min(most_types, m3e_token_types(encoder)));
    ids.insert(ids.end(), text.begin(), text.end());
    types.insert(types.end(), own.begin(), own.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
    prompts.push_back(static_cast<int64_t>(text.size() % 3));  // as many tokens are not pooled
  }
  m3e_inputs inputs = M3E_INPUTS;
  inputs.ids = ids.data();
  inputs.offsets = offsets.data();
  inputs.texts = texts.size();
  inputs.prompt_lengths = prompts.data();
  inputs.token_types = types.data();
  const auto dimension = static_cast<size_t>(m3e_dimension(encoder));
  std::vector<float> flat(texts.size() * dimension);
  std::vector<float> states((ids.size() + 1) * static_cast<size_t>(m3e_hidden_size(encoder)));
  char message[M3E_MESSAGE_SIZE];
  const m3e_status status =
      m3e_run(encoder, &inputs, flat.data(), states.data(), nullptr, nullptr, message);
  if (status != M3E_OK) fail(message);
  check_that_tiles_are_released();
  if (all_finite(flat) && !all_finite(states)) fail("states that are not finite");
  Vectors vectors;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto begin = flat.begin() + static_cast<int64_t>(i * dimension);
    vectors.emplace_back(begin, begin + static_cast<int64_t>(dimension));
  }
  if (m3e_has_token_weights(encoder) || m3e_has_term_weights(encoder)) {
    add_other_outputs(encoder, inputs, vectors);
  }
  return vectors;
}

bool same_bytes(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

float cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0, of_a = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    product += x * y;
    of_a += x * x;
    of_b += y * y;
  }
  if (of_a == 0 || of_b == 0) return of_a == of_b ? 1 : 0;
  return static_cast<float>(product / std::sqrt(of_a * of_b));
}

// Each text alone.
Vectors encode_alone(m3e_encoder* encoder, const std::vector<Text>& texts) {
  Vectors vectors;
  for (const Text& text : texts) vectors.push_back(encode(encoder, {text}).front());
  return vectors;
}

// The vectors of an instruction set: the same for each text alone, together, and with threads.
Vectors vectors_of(const std::string& path, const std::string& set) {
  const std::vector<Text> texts = make_texts();
  const Vectors alone = encode_alone(load(path, 1, set).get(), texts);
  for (const int threads : {1, 3}) {
    const Encoder encoder = load(path, threads, set);
    const Vectors together = encode(encoder.get(), texts),
                  few = encode(encoder.get(), {texts[1], texts[8]});
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!same_bytes(together[i], alone[i]))
        fail("text " + std::to_string(i) + " has other bytes in a batch");
    }
    if (!same_bytes(few[0], alone[1]) || !same_bytes(few[1], alone[8]))
      fail("other bytes in a small batch");
  }
  return alone;
}

void check_near(const Vectors& found, const Vectors& expected, float least, const char* what) {
  for (size_t i = 0; i < found.size(); ++i) {
    const float near = cosine(found[i], expected[i]);
    if (!(near >= least)) {
      fail("text " + std::to_string(i) + " has the cosine " + std::to_string(near) + " with " +
           what);
    }
  }
}

// The sets of x86 with fused multiply-add, which give the same bytes.
bool is_fused_x86(const std::string& set) {
  return set.compare(0, 3, "avx") == 0 || set.compare(0, 3, "amx") == 0;
}

// A model on some sets. The last one is portable, which sse41 equals, as neither fuses.
Vectors check_model(const RandomModel& model, const std::string& path, const std::string& name,
                    const std::vector<std::string>& sets) {
  m3e::write_model(model, path);
  Vectors portable, fused;
  for (size_t i = sets.size(); i-- > 0;) {
    doing = name + " " + model.type + " " + sets[i];
    const Vectors vectors = vectors_of(path, sets[i]);
    if (portable.empty()) portable = vectors;
    check_near(vectors, portable, model.type == "I8" ? 0.995f : 0.99999f, "portable");
    if (is_fused_x86(sets[i]) && fused.empty()) fused = vectors;
    const Vectors& equal = sets[i] == "sse41" ? portable : is_fused_x86(sets[i]) ? fused : vectors;
    for (size_t text = 0; text < vectors.size(); ++text) {
      if (!same_bytes(vectors[text], equal[text])) fail("other bytes than a set that is its equal");
    }
  }
  std::printf("%s %s: %zu instruction sets\n", name.c_str(), model.type.c_str(), sets.size());
  return portable;
}

RandomModel model_of(const std::string& type, const std::map<std::string, std::string>& entries) {
  RandomModel model{type, m3e::small_sizes()};
  for (const auto& [key, value] : entries) model.metadata[key] = value;
  return model;
}

// Of a model that multiplies in bfloat16.
void check_arithmetic(const std::string& path, const std::vector<std::string>& sets) {
  for (const std::string& set : sets) {
    const std::string to_odd = set == "neon_bf16" ? " rounded to odd" : "";
    const std::string said = m3e_arithmetic(load(path, 1, set).get());
    if (said != "bfloat16 products, float32 sums" + to_odd) fail(set + " has " + said);
  }
}

void check_precisions(const std::string& path, const std::vector<std::string>& sets) {
  for (const bool biased : {false, true}) {
    const auto model = [&](const char* type) {
      return biased ? model_of(type, {{"attention_bias", "relative"}, {"pooling", "cls"}})
                    : model_of(type, {});
    };
    const std::string name = biased ? "with a bias" : "plain";
    const Vectors exact = check_model(model("F32"), path, name, sets);
    check_near(check_model(model("F16"), path, name, sets), exact, 0.9999f, "F32");
    RandomModel rounded = model("F16");
    rounded.metadata["products"] = "bfloat16";
    check_near(check_model(rounded, path, name + ", bfloat16", sets), exact, 0.999f, "F32");
    check_arithmetic(path, sets);
    check_near(check_model(model("I8"), path, name, sets), exact, kAnyCosine, "F32");
    RandomModel smooth = model("I8");
    smooth.smoothing = true;
    check_near(check_model(smooth, path, name + ", smoothed", sets), exact, kAnyCosine, "F32");
  }
}

// What is the same code for every instruction set, on some.
void check_kinds(const std::string& path, const std::vector<std::string>& all) {
  const std::vector<std::string> sets = some_sets(all);
  const std::vector<std::pair<std::string, std::map<std::string, std::string>>> kinds = {
      {"poolings and a head",
       {{"pooling", "max+lasttoken+mean"},
        {"activation", "quick_gelu"},
        {"dense", "40:tanh+40:layer_norm+24:gelu+24:unit_length+33:identity"}}},
      {"weighted means",
       {{"pooling", "weightedmean+mean_sqrt_len_tokens"}, {"activation", "silu"}}},
      {"positions from padding",
       {{"padding", "9"}, {"activation", "gelu_tanh"}, {"normalize", "false"}}},
      {"words and last", {{"pooling", "embedding_last_mean"}, {"activation", "relu"}}},
      {"embeddings and last, projected", {{"pooling", "first_last_mean"}, {"embedding", "40"}}},
      {"first and last, one layer twice",
       {{"pooling", "first_last_avg"}, {"layer_weights", "0,0"}}},
      {"weighted states", {{"states", "weighted"}}},
      {"a classifier of pairs",
       {{"token_types", "3"},
        {"pooling", "cls"},
        {"dense", "72:tanh+2:identity"},
        {"normalize", "false"}}},
      {"weights and vectors of tokens",
       {{"pooling", "cls"}, {"token_weights", "relu"}, {"token_vectors", "40:unit_length"}}},
      {"weights of terms", {{"vocabulary", "300"}, {"term_weights", "gelu:log1p"}}},
      {"weights of terms, two logarithms", {{"term_weights", "relu:log1p:log1p"}}},
      {"token types, projected", {{"token_types", "2"}, {"embedding", "40"}, {"padding", "9"}}},
  };
  for (const auto& [name, entries] : kinds) check_model(model_of("I8", entries), path, name, sets);
}

// What encoders after BERT have, on every set, and in the other precisions on some.
void check_newer(const std::string& path, const std::vector<std::string>& all) {
  const std::vector<std::string> sets = some_sets(all);
  const std::vector<std::pair<std::string, std::map<std::string, std::string>>> kinds = {
      {"rotary and gated",
       {{"position_table", "one"},
        {"feed_forward", "gated"},
        {"activation", "silu"},
        {"rotary", "24"},
        {"rotary_layers", "0,0"}}},
      {"norms before, windows, two tables",
       {{"position_table", "one"},
        {"norm_place", "before"},
        {"first_norm", "none"},
        {"final_norm", "yes"},
        {"feed_forward", "gated"},
        {"attention_spans", "-:-,20:33"},
        {"rotary", "10"},
        {"rotary_layers", "1,0"}}},
      {"rms, queries and keys normalized",
       {{"norm_kind", "rms"},
        {"norm_place", "before"},
        {"final_norm", "yes"},
        {"embedding_norm", "none"},
        {"query_key_norm", "hidden"},
        {"attention_spans", "-:0,0:-"},
        {"rotary", "2"},
        {"rotary_layers", "-,0"}}},
      {"biased and gated",
       {{"attention_bias", "relative"},
        {"feed_forward", "gated"},
        {"activation", "relu"},
        {"attention_spans", "70:2,-:-"},
        {"intermediate", "130"}}},
  };
  for (const auto& [name, entries] : kinds) {
    const Vectors exact = check_model(model_of("F32", entries), path, name, all);
    check_near(check_model(model_of("F16", entries), path, name, sets), exact, 0.9999f, "F32");
    check_near(check_model(model_of("I8", entries), path, name, sets), exact, kAnyCosine, "F32");
  }
}

// Type 0 alone is no type at all; other types change the vectors; types beyond the last are
// refused.
void check_token_types(const std::string& path) {
  doing = "token types";
  const std::vector<Text> texts = make_texts();
  m3e::write_model(model_of("I8", {}), path);
  const Vectors plain = encode_alone(load(path, 1, "portable").get(), texts);
  m3e::write_model(model_of("I8", {{"token_types", "2"}}), path);
  const Encoder encoder = load(path, 2, "portable");
  const Vectors zeros = encode(encoder.get(), texts, 1), typed = encode(encoder.get(), texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!same_bytes(zeros[i], plain[i])) fail("type 0 changes a vector");
    const bool is_all_prompt = texts[i].size() < 3;
    if (same_bytes(typed[i], plain[i]) != is_all_prompt) fail("type 1 changes no vector");
  }
  const int32_t id = 8, unknown = 2;
  const int64_t offsets[] = {0, 1};
  m3e_inputs inputs = M3E_INPUTS;
  inputs.ids = &id;
  inputs.offsets = offsets;
  inputs.texts = 1;
  inputs.token_types = &unknown;
  std::vector<float> vector(static_cast<size_t>(m3e_dimension(encoder.get())));
  char message[M3E_MESSAGE_SIZE] = "";
  if (m3e_run(encoder.get(), &inputs, vector.data(), nullptr, nullptr, nullptr, message) !=
      M3E_ERROR_ARGUMENT) {
    fail("an unknown type is not refused");
  }
  std::printf("token types: %s\n", message);
}

#if defined(M3E_EMULATED_AMX)
// The caller's function may use tiles itself, as a library for matrices does. Here it finds its
// thread without any, and leaves it without any.
void check_callback(const std::string& path) {
  doing = "a callback on emulated tiles";
  RandomModel model = model_of("I8", {{"layers", "40"}});
  m3e::write_model(model, path);
  const std::vector<std::string> sets = instruction_sets();
  if (std::find(sets.begin(), sets.end(), "amx_emulated") == sets.end()) return;
  const Encoder encoder = load(path, 1, "amx_emulated");
  std::vector<int32_t> ids(300, 20);
  std::vector<int64_t> offsets{0};
  const size_t texts = 200;
  std::vector<int32_t> all;
  for (size_t i = 0; i < texts; ++i) {
    all.insert(all.end(), ids.begin(), ids.end());
    offsets.push_back(static_cast<int64_t>(all.size()));
  }
  m3e_inputs inputs = M3E_INPUTS;
  inputs.ids = all.data();
  inputs.offsets = offsets.data();
  inputs.texts = texts;
  std::vector<float> flat(texts * static_cast<size_t>(m3e_dimension(encoder.get())));
  struct Calls {
    int left = 3, with_tiles = 0;
  } calls;
  const auto stop = [](void* context) {
    auto& seen = *static_cast<Calls*>(context);
    seen.with_tiles += m3e::emulated::configured_threads();
    return static_cast<int>(--seen.left == 0);
  };
  char message[M3E_MESSAGE_SIZE];
  const m3e_status status =
      m3e_run(encoder.get(), &inputs, flat.data(), nullptr, stop, &calls, message);
  if (status != M3E_STOPPED) fail("the call was not stopped");
  if (calls.with_tiles) fail("a callback runs while the tiles are configured");
  check_that_tiles_are_released();
  std::printf("callbacks: %s\n", message);
}
#endif

// A text with a NaN has no plausible vector, and the texts beside it have theirs.
void check_invalid(const std::string& path, const std::vector<std::string>& sets) {
  for (const char* type : {"I8", "F32"}) {
    RandomModel model = model_of(type, {});
    model.invalid_word = kInvalidWord;
    m3e::write_model(model, path);
    for (const std::string& set : sets) {
      doing = std::string("NaN ") + type + " " + set;
      const Encoder encoder = load(path, 1, set);
      const Text valid{20, 30, 40}, invalid{20, 30, kInvalidWord};
      const Vectors vectors = encode(encoder.get(), {valid, invalid, valid});
      for (const float value : vectors[1]) {
        if (!std::isnan(value)) fail("a number in the vector of a text with a NaN");
      }
      for (const size_t text : {size_t{0}, size_t{2}}) {
        if (!same_bytes(vectors[text], encode(encoder.get(), {valid}).front()))
          fail("other bytes beside a NaN");
      }
    }
  }
  std::printf("NaN: %zu instruction sets\n", sets.size());
}

}  // namespace

int main(int count, char** arguments) {
  const std::string path =
      (count > 1 ? arguments[1] : std::string(".")) + "/forward_tests.safetensors";
  const std::vector<std::string> sets = instruction_sets();
  check_precisions(path, sets);
  check_kinds(path, sets);
  check_newer(path, sets);
  check_token_types(path);
  check_invalid(path, sets);
#if defined(M3E_EMULATED_AMX)
  check_callback(path);
#endif
  std::remove(path.c_str());
  return 0;
}
