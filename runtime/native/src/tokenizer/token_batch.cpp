// SPDX-License-Identifier: Apache-2.0
#include "token_batch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>

#include "../error.h"
#include "pair_encoder.h"

namespace m3e {
namespace {

// Enough that taking the next run costs nothing, few enough that the threads end together.
constexpr size_t kBytesPerRun = 1 << 15;

struct Range {
  size_t begin;
  size_t end;
};

// `bytes_of(i)` are those of text i.
template <class BytesOf>
std::vector<Range> ranges_of(size_t count, bool whole, BytesOf bytes_of) {
  std::vector<Range> ranges;
  size_t begin = 0, bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    bytes += bytes_of(i) + 1;
    if (i + 1 < count && (whole || bytes < kBytesPerRun)) continue;
    ranges.push_back({begin, i + 1});
    begin = i + 1;
    bytes = 0;
  }
  return ranges;
}

std::string_view view_of(const Utf8Texts& texts, size_t text) {
  return {texts.data[text], texts.lengths[text]};
}

// Calls fill(range, run) for each range. Throws what the first one throws that throws.
template <class Fill>
std::vector<TokenRun> fill_runs(const std::vector<Range>& ranges, ThreadPool& pool, int threads,
                                Fill fill) {
  std::vector<TokenRun> runs(ranges.size());
  std::vector<std::exception_ptr> errors(ranges.size());
  std::atomic<size_t> next{0};
  const auto work = [&](Team&, int) {
    for (size_t i = next++; i < ranges.size(); i = next++) {
      try {
        fill(ranges[i], runs[i]);
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

// Calls encode(i), which appends to `run.ids`, for each text of a range. `what` names one in
// messages, and `first` is the number of the first one of all.
template <class Encode>
void fill_run(Range range, const char* what, size_t first, TokenRun& run, Encode encode) {
  for (size_t i = range.begin; i < range.end; ++i) {
    const size_t before = run.ids.size();
    try {
      run.cut.push_back(encode(i));
    } catch (const Error& error) {
      throw Error(error.kind, what + (" " + std::to_string(first + i)) + ": " + error.what());
    }
    run.lengths.push_back(run.ids.size() - before);
  }
}

}  // namespace

std::vector<TokenRun> tokenize_batch(const Tokenizer& tokenizer, ThreadPool& pool, int threads,
                                     const Utf8Texts& texts, int64_t most, bool count) {
  const auto bytes_of = [&](size_t i) { return texts.lengths[i]; };
  const auto fill = [&](Range range, TokenRun& run) {
    fill_run(range, "text", texts.first, run,
             [&](size_t i) { return tokenizer.encode(view_of(texts, i), most, count, run.ids); });
  };
  return fill_runs(ranges_of(texts.count, threads == 1, bytes_of), pool, threads, fill);
}

std::vector<TokenRun> tokenize_pairs(const Tokenizer& tokenizer, ThreadPool& pool, int threads,
                                     const Utf8Pairs& pairs, int64_t most, bool count) {
  const auto bytes_of = [&](size_t i) {
    return pairs.firsts.lengths[i] + pairs.seconds.lengths[i];
  };
  const PairEncoder refused_early(tokenizer, most, count);  // even if there are no pairs
  const auto fill = [&](Range range, TokenRun& run) {
    PairEncoder encoder(tokenizer, most, count);
    fill_run(range, "pair", pairs.firsts.first, run, [&](size_t i) {
      return encoder.encode(view_of(pairs.firsts, i), view_of(pairs.seconds, i), run.ids,
                            run.types);
    });
  };
  return fill_runs(ranges_of(pairs.firsts.count, threads == 1, bytes_of), pool, threads, fill);
}

}  // namespace m3e
