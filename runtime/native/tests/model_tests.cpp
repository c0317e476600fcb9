// SPDX-License-Identifier: Apache-2.0
// Many callers share a bundle's model, of vectors or of scores, through the C interface, open and
// close models of their own, and stop calls. Every text must get the bytes that it gets alone. Run
// it under the sanitizers.
//
//   model_tests BUNDLE
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "m3e.h"

namespace {

struct Close {
  void operator()(m3e_model* model) const { m3e_close(model); }
};
using Model = std::unique_ptr<m3e_model, Close>;

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}

void expect(m3e_status found, m3e_status wanted, const char* what, const char* message) {
  if (found == wanted) return;
  fail(std::string(what) + " returned " + std::to_string(found) + ": " + message);
}

struct Texts {
  explicit Texts(std::vector<std::string> all) : texts(std::move(all)) {
    for (const std::string& text : texts) {
      data.push_back(text.data());
      lengths.push_back(text.size());
    }
  }
  size_t count() const { return texts.size(); }

  std::vector<std::string> texts;
  std::vector<const char*> data;
  std::vector<size_t> lengths;
};

// Short ones and long ones, empty ones, zero bytes, and characters that no vocabulary has.
Texts make_texts(size_t seed) {
  std::vector<std::string> texts = {"", "a", std::string("a\0b", 3), "\xF0\x9F\x98\x80 [SEP]"};
  for (size_t i = 0; i < 12; ++i) {
    std::string text;
    for (size_t word = 0; word < 1 + (seed * 7 + i * i * 5) % 60; ++word) {
      text += "word" + std::to_string(word * i % 23) + " \xE4\xB8\xAD\xE6\x96\x87 ";
    }
    texts.push_back(text);
  }
  return Texts(std::move(texts));
}

Model open(const char* path, int threads) {
  m3e_options options = M3E_OPTIONS;
  options.threads = threads;
  options.skip_verification = threads % 2;
  char message[M3E_MESSAGE_SIZE] = "";
  m3e_model* model = nullptr;
  expect(m3e_open(path, &options, &model, message), M3E_OK, "m3e_open", message);
  return Model(model);
}

struct Embedded {
  std::vector<uint8_t> vectors;
  std::vector<int64_t> cut;
  bool operator==(const Embedded& other) const {
    return vectors == other.vectors && cut == other.cut;
  }
};

Embedded embed(m3e_model* model, const Texts& texts, const m3e_embedding& asked) {
  const size_t each = m3e_vector_size(model, &asked);
  Embedded found{std::vector<uint8_t>(texts.count() * each), std::vector<int64_t>(texts.count())};
  char message[M3E_MESSAGE_SIZE] = "";
  expect(m3e_embed(model, texts.data.data(), texts.lengths.data(), texts.count(), &asked,
                   found.vectors.data(), found.cut.data(), message),
         M3E_OK, "m3e_embed", message);
  return found;
}

// What m3e_tokenize gives is what m3e_tokenize_one gives text by text.
void check_tokens(const m3e_model* model, const Texts& texts) {
  const m3e_tokenizer* tokenizer = m3e_model_tokenizer(model);
  const int32_t most = m3e_model_max_tokens(model);
  char message[M3E_MESSAGE_SIZE] = "";
  m3e_tokens tokens;
  expect(m3e_tokenize(tokenizer, texts.data.data(), texts.lengths.data(), texts.count(), most,
                      &tokens, message),
         M3E_OK, "m3e_tokenize", message);
  std::vector<int32_t> ids(static_cast<size_t>(most));
  for (size_t i = 0; i < texts.count(); ++i) {
    int32_t count = 0;
    int64_t cut = 0;
    expect(m3e_tokenize_one(tokenizer, texts.data[i], texts.lengths[i], most, ids.data(), &count,
                            &cut, message),
           M3E_OK, "m3e_tokenize_one", message);
    const int32_t* const begin = tokens.ids + tokens.offsets[i];
    const bool same = tokens.offsets[i + 1] - tokens.offsets[i] == count && tokens.cut[i] == cut &&
                      std::equal(begin, begin + count, ids.begin());
    if (!same) fail("text " + std::to_string(i) + " has other tokens alone");
  }
  m3e_tokens_free(&tokens);
}

// What m3e_tokenize_pairs gives is what it gives pair by pair.
void check_pairs(const m3e_model* model, const Texts& firsts, const Texts& seconds) {
  const m3e_tokenizer* tokenizer = m3e_model_tokenizer(model);
  const int32_t most = m3e_model_max_tokens(model);
  char message[M3E_MESSAGE_SIZE] = "";
  m3e_pairs together, alone;
  expect(
      m3e_tokenize_pairs(tokenizer, firsts.data.data(), firsts.lengths.data(), seconds.data.data(),
                         seconds.lengths.data(), firsts.count(), most, &together, message),
      M3E_OK, "m3e_tokenize_pairs", message);
  for (size_t i = 0; i < firsts.count(); ++i) {
    expect(
        m3e_tokenize_pairs_marked(tokenizer, &firsts.data[i], &firsts.lengths[i], &seconds.data[i],
                                  &seconds.lengths[i], 1, most, &alone, message),
        M3E_OK, "m3e_tokenize_pairs_marked", message);
    const int64_t begin = together.offsets[i], count = together.offsets[i + 1] - begin;
    const bool same = alone.offsets[1] == count && alone.cut[0] == (together.cut[i] > 0) &&
                      std::equal(alone.ids, alone.ids + count, together.ids + begin) &&
                      std::equal(alone.types, alone.types + count, together.types + begin);
    m3e_pairs_free(&alone);
    if (!same) fail("pair " + std::to_string(i) + " has other tokens alone");
  }
  m3e_pairs_free(&together);
}

struct Scored {
  std::vector<float> scores;
  std::vector<int64_t> cut;
  bool operator==(const Scored& other) const { return scores == other.scores && cut == other.cut; }
};

Scored score(m3e_model* model, const Texts& queries, const Texts& passages) {
  const auto labels = static_cast<size_t>(m3e_model_labels(model));
  Scored found{std::vector<float>(queries.count() * labels), std::vector<int64_t>(queries.count())};
  m3e_scoring asked = M3E_SCORING;
  asked.softmax = 1;
  char message[M3E_MESSAGE_SIZE] = "";
  expect(m3e_score(model, queries.data.data(), queries.lengths.data(), passages.data.data(),
                   passages.lengths.data(), queries.count(), &asked, found.scores.data(),
                   found.cut.data(), message),
         M3E_OK, "m3e_score", message);
  return found;
}

void check_refusals(m3e_model* model) {
  const Texts texts({"fine", "\xC3("});
  std::vector<float> vectors(2 * static_cast<size_t>(m3e_model_dimension(model)));
  char message[M3E_MESSAGE_SIZE] = "";
  expect(m3e_embed(model, texts.data.data(), texts.lengths.data(), 2, nullptr, vectors.data(),
                   nullptr, message),
         M3E_ERROR_ARGUMENT, "m3e_embed of what is not UTF-8", message);
  m3e_embedding asked = M3E_EMBEDDING;
  asked.prompt_name = "there is none of this name";
  expect(m3e_embed(model, texts.data.data(), texts.lengths.data(), 1, &asked, vectors.data(),
                   nullptr, message),
         M3E_ERROR_ARGUMENT, "m3e_embed with an unknown prompt", message);
}

// Another thread stops a call that would take long.
void check_stop(m3e_model* model) {
  const Texts texts(std::vector<std::string>(3000, make_texts(5).texts.back()));
  std::vector<float> vectors(texts.count() * static_cast<size_t>(m3e_model_dimension(model)));
  int32_t flag = 0;
  m3e_embedding asked = M3E_EMBEDDING;
  asked.stop = m3e_stop_if_set;
  asked.context = &flag;
  std::thread stopper([&] { __atomic_store_n(&flag, 1, __ATOMIC_RELAXED); });
  char message[M3E_MESSAGE_SIZE] = "";
  expect(m3e_embed(model, texts.data.data(), texts.lengths.data(), texts.count(), &asked,
                   vectors.data(), nullptr, message),
         M3E_STOPPED, "a stopped m3e_embed", message);
  stopper.join();
}

void check_bundle(const char* path, m3e_model* model) {
  char message[M3E_MESSAGE_SIZE] = "";
  char* json = nullptr;
  expect(m3e_bundle_info(path, &json, message), M3E_OK, "m3e_bundle_info", message);
  m3e_string_free(json);
  expect(m3e_bundle_verify(path, m3e_model_artifact(model), message), M3E_OK, "m3e_bundle_verify",
         message);
  float least = 0;
  expect(m3e_model_check(model, &least, message), M3E_OK, "m3e_model_check", message);
}

constexpr size_t kCallers = 4;

template <class Work>
void call_from_threads(Work work) {
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < kCallers; ++caller) callers.emplace_back(work, caller);
  for (std::thread& each : callers) each.join();
  std::printf("%zu callers got the same bytes\n", kCallers);
}

void test_scores(const char* path) {
  const Model reference = open(path, 1), shared = open(path, 3);
  const Texts queries = make_texts(3), passages = make_texts(8);
  const Scored expected = score(reference.get(), queries, passages);
  call_from_threads([&](size_t caller) {
    const Model own = open(path, 1 + static_cast<int>(caller));
    for (m3e_model* model : {shared.get(), own.get()}) {
      if (!(score(model, queries, passages) == expected)) {
        fail("caller " + std::to_string(caller) + " got other scores");
      }
      check_pairs(model, queries, passages);
    }
    if (caller == 1) check_bundle(path, shared.get());
  });
}

std::vector<m3e_embedding> kinds_of_embeddings(const std::vector<float>& ranges) {
  m3e_embedding plain = M3E_EMBEDDING, half = plain, bits = plain, bytes = plain;
  half.prompt = "query: ";
  half.output = M3E_FLOAT16;
  bits.output = M3E_UBINARY;
  bits.truncate_dim = 16;
  bytes.output = M3E_INT8;
  bytes.normalize = 1;
  bytes.ranges = ranges.data();
  return {plain, half, bits, bytes};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s BUNDLE\n", arguments[0]);
    return 2;
  }
  const char* path = arguments[1];
  if (m3e_model_labels(open(path, 1).get()) > 0) return test_scores(path), 0;
  const Model reference = open(path, 1), shared = open(path, 3);
  const auto dimension = static_cast<size_t>(m3e_model_dimension(reference.get()));
  std::vector<float> ranges(2 * dimension, -0.1f);
  std::fill(ranges.begin() + static_cast<std::ptrdiff_t>(dimension), ranges.end(), 0.1f);
  const std::vector<m3e_embedding> kinds = kinds_of_embeddings(ranges);
  std::vector<Texts> texts;
  std::vector<Embedded> expected;
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    texts.push_back(make_texts(kind));
    expected.push_back(embed(reference.get(), texts.back(), kinds[kind]));
  }
  call_from_threads([&](size_t caller) {
    for (size_t round = 0; round < 3; ++round) {
      const size_t kind = (caller + round) % kinds.size();
      const Model own = open(path, 1 + static_cast<int>((caller + round) % 4));
      for (m3e_model* model : {shared.get(), own.get()}) {
        if (!(embed(model, texts[kind], kinds[kind]) == expected[kind])) {
          fail("caller " + std::to_string(caller) + " got other bytes");
        }
        check_tokens(model, texts[kind]);
        check_pairs(model, texts[kind], texts[(kind + 1) % kinds.size()]);
        check_refusals(model);
      }
    }
    if (caller == 0) check_stop(shared.get());
    if (caller == 1) check_bundle(path, shared.get());
  });
  return 0;
}
