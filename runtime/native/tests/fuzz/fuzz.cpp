// SPDX-License-Identifier: Apache-2.0
// Gives mutated files and hostile texts to the readers of tokenizer.json and manifest.json. Build
// it with -DM3E_SANITIZE=address,undefined.
//
//   fuzz [--seed N] [--first N] [--rounds N] [--seconds N] [--keep FOLDER] [TOKENIZER.json …]
//
// A round depends on the seed, its number and the files alone. The rounds run in a child process:
// if it ends, or a round takes too long, the round is reported, its file kept, and the next one
// begins. Ends with status 1 if any round failed.
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>

#include "checks.h"
#include "input.h"

namespace m3e::fuzz {
namespace {

using Clock = std::chrono::steady_clock;

constexpr time_t kLongestRound = 20;  // seconds of a processor
constexpr useconds_t kLookMicroseconds = 2000;
constexpr size_t kTextsPerFile = 6;

struct Options {
  uint64_t seed = 1, first = 0, rounds = UINT64_MAX;
  std::chrono::seconds seconds{10};
  std::string keep = ".";
  std::vector<std::string> files;
};

// What the child tells.
struct Progress {
  std::atomic<uint64_t> round{0}, tokenizers{0}, manifests{0};
};

struct Input {
  bool is_manifest;
  std::string json;
  std::vector<std::string> texts;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file || content.str().empty()) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    std::exit(2);
  }
  return content.str();
}

class Rounds {
 public:
  explicit Rounds(const Options& options) : seed_(options.seed) {
    for (const std::string& path : options.files) given_.emplace_back(read_file(path));
  }

  Input make(uint64_t round) const {
    Chance chance(seed_, round);
    Input input;
    input.is_manifest = chance.one_in(8);
    const Sample donor(chance.one_in(2) ? assemble_tokenizer(chance) : manifest(chance));
    if (input.is_manifest) {
      input.json = mutate(Sample(manifest(chance)), donor, chance);
    } else if (!given_.empty() && chance.one_in(16)) {
      input.json = mutate(chance.of(given_), donor, chance);
    } else {
      input.json = mutate(Sample(assemble_tokenizer(chance)), donor, chance);
    }
    for (size_t i = 0; i < kTextsPerFile; ++i) {
      input.texts.push_back(make_text(input.json, chance));
    }
    return input;
  }

 private:
  const uint64_t seed_;
  std::vector<Sample> given_;
};

// Ends this process by a signal when it has computed for so long. Waiting for a processor does not
// count.
void limit_time() {
  const itimerval limit{{0, 0}, {kLongestRound, 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
}

[[noreturn]] void run(const Rounds& rounds, uint64_t end, Progress& progress) {
  for (; progress.round < end; ++progress.round) {
    limit_time();
    const Input input = rounds.make(progress.round);
    if (input.is_manifest) {
      progress.manifests += check_manifest(input.json);
    } else {
      progress.tokenizers += check_tokenizer(input.json, input.texts);
    }
  }
  std::_Exit(0);
}

// Returns whether the time is over; else the child has ended.
bool watch(pid_t child, Clock::time_point until) {
  int status = 0;
  for (; waitpid(child, &status, WNOHANG) == 0; usleep(kLookMicroseconds)) {
    if (Clock::now() < until) continue;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return true;
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF) std::fprintf(stderr, "takes too long\n");
  return false;
}

void report(const Options& options, const Rounds& rounds, uint64_t round) {
  const std::string path = options.keep + "/fuzz-" + std::to_string(options.seed) + "-" +
                           std::to_string(round) + ".json";
  std::ofstream(path, std::ios::binary) << rounds.make(round).json;
  std::fprintf(stderr, "FAILED: --seed %llu --first %llu --rounds 1; the file is %s\n",
               static_cast<unsigned long long>(options.seed),
               static_cast<unsigned long long>(round), path.c_str());
}

int fuzz(const Options& options) {
  const Rounds rounds(options);
  void* shared =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  Progress& progress = *new (shared) Progress;
  progress.round = options.first;
  const uint64_t end =
      options.rounds > UINT64_MAX - options.first ? UINT64_MAX : options.first + options.rounds;
  const auto until = Clock::now() + options.seconds;
  int failures = 0;
  while (progress.round < end) {
    const pid_t child = fork();
    if (child < 0) return 2;
    if (child == 0) run(rounds, end, progress);
    if (watch(child, until) || progress.round == end) break;
    report(options, rounds, progress.round++);
    ++failures;
  }
  std::printf("%llu rounds; %llu tokenizers and %llu manifests were read; %d failures\n",
              static_cast<unsigned long long>(progress.round - options.first),
              static_cast<unsigned long long>(progress.tokenizers),
              static_cast<unsigned long long>(progress.manifests), failures);
  return failures > 0;
}

Options read_options(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name.rfind("--", 0) != 0) {
      options.files.push_back(name);
      continue;
    }
    const char* value = ++i < count ? arguments[i] : "";
    if (name == "--keep") {
      options.keep = value;
      continue;
    }
    char* behind = nullptr;
    const uint64_t number = std::strtoull(value, &behind, 10);
    uint64_t* to = name == "--seed"     ? &options.seed
                   : name == "--first"  ? &options.first
                   : name == "--rounds" ? &options.rounds
                                        : nullptr;
    if (*value == 0 || *behind != 0 || (!to && name != "--seconds")) {
      std::fprintf(stderr, "unknown option or value: %s %s\n", name.c_str(), value);
      std::exit(2);
    }
    to ? void(*to = number) : void(options.seconds = std::chrono::seconds(number));
  }
  return options;
}

}  // namespace
}  // namespace m3e::fuzz

int main(int count, char** arguments) {
  return m3e::fuzz::fuzz(m3e::fuzz::read_options(count, arguments));
}
