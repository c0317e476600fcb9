// SPDX-License-Identifier: Apache-2.0
// Many callers share encoders of several numbers of threads, which are loaded and freed meanwhile.
// Every text must get the bytes that it gets alone. Run it under the thread sanitizer.
//
//   thread_tests ARTIFACT
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "m3e.h"

namespace {

struct Free {
  void operator()(m3e_encoder* encoder) const { m3e_free(encoder); }
};
using Encoder = std::unique_ptr<m3e_encoder, Free>;

struct Texts {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  size_t count() const { return offsets.size() - 1; }
};

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}

Encoder load(const char* path, int threads) {
  m3e_options options = M3E_OPTIONS;
  options.threads = threads;
  char message[M3E_MESSAGE_SIZE];
  m3e_encoder* encoder = nullptr;
  if (m3e_load(path, &options, &encoder, message) != M3E_OK) fail(message);
  return Encoder(encoder);
}

Texts make_texts(const std::vector<int>& lengths, int vocabulary, unsigned seed) {
  std::mt19937 random(seed);
  Texts texts;
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i) {
      texts.ids.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(vocabulary)));
    }
    texts.offsets.push_back(static_cast<int64_t>(texts.ids.size()));
  }
  return texts;
}

std::vector<float> encode(m3e_encoder* encoder, const Texts& texts) {
  std::vector<float> vectors(texts.count() * static_cast<size_t>(m3e_dimension(encoder)));
  char message[M3E_MESSAGE_SIZE];
  const m3e_status status = m3e_encode(encoder, texts.ids.data(), texts.offsets.data(),
                                       texts.count(), vectors.data(), message);
  if (status != M3E_OK) fail(message);
  return vectors;
}

// Every kind of call stops when asked, and the encoder works as before.
void stop_early(m3e_encoder* encoder, const std::vector<int>& lengths) {
  const auto always = [](void*) { return 1; };
  std::vector<int> more = lengths;
  for (;;) {  // until the call takes long enough to call `stop`
    const Texts texts = make_texts(more, m3e_vocabulary_size(encoder), 0);
    std::vector<float> vectors(texts.count() * static_cast<size_t>(m3e_dimension(encoder)));
    char message[M3E_MESSAGE_SIZE];
    const m3e_status status =
        m3e_encode_stoppable(encoder, texts.ids.data(), texts.offsets.data(), nullptr,
                             texts.count(), vectors.data(), always, nullptr, message);
    if (status == M3E_STOPPED) return;
    if (status != M3E_OK) fail(message);
    more.insert(more.end(), more.begin(), more.end());
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s ARTIFACT\n", arguments[0]);
    return 2;
  }
  const char* path = arguments[1];
  const Encoder reference = load(path, 1), shared = load(path, 3);
  const int vocabulary = m3e_vocabulary_size(reference.get());
  // One short text, texts for one team, and enough texts for packs side by side.
  const std::vector<std::vector<int>> kinds = {
      {5}, {60, 90}, {200, 12, 7, 180, 90, 3, 150, 60, 40, 31}};
  std::vector<Texts> texts;
  std::vector<std::vector<float>> expected;
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    texts.push_back(make_texts(kinds[kind], vocabulary, static_cast<unsigned>(kind)));
    expected.push_back(encode(reference.get(), texts.back()));
  }
  for (m3e_encoder* encoder : {reference.get(), shared.get()}) stop_early(encoder, kinds.back());
  const auto work = [&](size_t caller) {
    for (size_t round = 0; round < 4; ++round) {
      const size_t kind = (caller + round) % kinds.size();
      const Encoder own = load(path, 1 + static_cast<int>((caller + round) % 4));
      for (m3e_encoder* encoder : {shared.get(), own.get()}) {
        const std::vector<float> found = encode(encoder, texts[kind]);
        if (std::memcmp(found.data(), expected[kind].data(), found.size() * sizeof(float)) != 0) {
          fail("caller " + std::to_string(caller) + " got other bytes");
        }
      }
    }
  };
  constexpr size_t kCallers = 6;
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < kCallers; ++caller) callers.emplace_back(work, caller);
  for (std::thread& each : callers) each.join();
  std::printf("%zu callers got the same bytes\n", kCallers);
  return 0;
}
