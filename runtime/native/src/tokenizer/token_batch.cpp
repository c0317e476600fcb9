// SPDX-License-Identifier: Apache-2.0
#include "token_batch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>

#include "../error.h"

namespace m3e {
namespace {

// Enough that taking the next run costs nothing, few enough that the threads end together.
constexpr size_t kBytesPerRun = 1 << 15;

struct Range {
  size_t begin;
  size_t end;
};

std::vector<Range> ranges_of(const Utf8Texts& texts, bool whole) {
  std::vector<Range> ranges;
  size_t begin = 0, bytes = 0;
  for (size_t i = 0; i < texts.count; ++i) {
    bytes += texts.lengths[i] + 1;
    if (i + 1 < texts.count && (whole || bytes < kBytesPerRun)) continue;
    ranges.push_back({begin, i + 1});
    begin = i + 1;
    bytes = 0;
  }
  return ranges;
}

void tokenize_text(const Tokenizer& tokenizer, const Utf8Texts& texts, size_t text, int64_t most,
                   bool count, TokenRun& run) {
  const size_t before = run.ids.size();
  try {
    const std::string_view view(texts.data[text], texts.lengths[text]);
    run.cut.push_back(tokenizer.encode(view, most, count, run.ids));
  } catch (const Error& error) {
    throw Error(error.kind, "text " + std::to_string(texts.first + text) + ": " + error.what());
  }
  run.lengths.push_back(run.ids.size() - before);
}

}  // namespace

std::vector<TokenRun> tokenize_batch(const Tokenizer& tokenizer, ThreadPool& pool, int threads,
                                     const Utf8Texts& texts, int64_t most, bool count) {
  const std::vector<Range> ranges = ranges_of(texts, threads == 1);
  std::vector<TokenRun> runs(ranges.size());
  std::vector<std::exception_ptr> errors(ranges.size());
  std::atomic<size_t> next{0};
  const auto work = [&](Team&, int) {
    for (size_t i = next++; i < ranges.size(); i = next++) {
      try {
        for (size_t text = ranges[i].begin; text < ranges[i].end; ++text) {
          tokenize_text(tokenizer, texts, text, most, count, runs[i]);
        }
      } catch (...) {
        errors[i] = std::current_exception();
        next = ranges.size();  // the others need not be computed, those before are taken already
      }
    }
  };
  const int wanted = static_cast<int>(std::min(ranges.size(), static_cast<size_t>(threads)));
  pool.run(wanted, work);
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return runs;
}

}  // namespace m3e
