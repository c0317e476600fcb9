// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include <algorithm>
#include <atomic>

#include "error.h"
#include "team_size.h"

namespace m3e {
namespace {

// Tokens of a pack that one thread computes. Smaller packs read the weights too often; larger ones
// need more memory and are no faster.
constexpr int64_t kLeastTokens = 128;
constexpr int64_t kMostTokens = 256;
constexpr int64_t kTeamTokens = 512;  // of a pack that a team computes
// Longest total time of packs side by side, relative to a perfect division of the work.
constexpr double kMostIdle = 1.12;

const Kernels& kernels_called(const char* name) {
  if (const Kernels* found = find_kernels(name)) return *found;
  const char* names[16];
  const int count = supported_kernels(names, 16);
  std::string known;
  for (int i = 0; i < count; ++i) known += std::string(i ? ", " : "") + names[i];
  throw Error(ErrorKind::argument,
              "instruction set '" + std::string(name) + "' does not run here; these do: " + known);
}

// Groups consecutive texts into packs of about `tokens` tokens. Empty texts are in no pack; their
// vectors are set to zero.
std::vector<Pack> cut(const Inputs& inputs, const Weights& weights, const Output& output,
                      int64_t tokens) {
  const Sizes& sizes = weights.sizes;
  const int64_t* offsets = inputs.offsets;
  std::vector<Pack> packs;
  bool open = false;
  for (int64_t text = 0; text < inputs.texts; ++text) {
    float* vector = output.vectors + text * sizes.dimension;
    float* terms = output.term_weights ? output.term_weights + text * sizes.vocabulary : nullptr;
    if (offsets[text] == offsets[text + 1]) {
      std::fill(vector, vector + sizes.dimension, 0.0f);
      if (terms) std::fill(terms, terms + sizes.vocabulary, 0.0f);
      open = false;
      continue;
    }
    if (open && offsets[text + 1] - packs.back().offsets[0] <= tokens) {
      ++packs.back().texts;
    } else {
      float* states = output.states ? output.states + offsets[text] * sizes.hidden : nullptr;
      packs.push_back(
          {inputs.ids + offsets[text],
           offsets + text,
           1,
           {vector, states, output.tokens.from(offsets[text], weights.token_heads), terms},
           inputs.prompts ? inputs.prompts + text : nullptr,
           inputs.types ? inputs.types + offsets[text] : nullptr,
           inputs.attended_lengths ? inputs.attended_lengths + text : nullptr});
      open = true;
    }
  }
  return packs;
}

// As m3e_runtime.planning.work_of: attention grows with the square of the length.
int64_t work_of(const Pack& pack) {
  constexpr int64_t kShortTokens = 512, kAttentionTokens = 2048;
  int64_t work = 0;
  for (int text = 0; text < pack.texts; ++text) {
    const int64_t length = pack.length(text);
    work += length + length * std::max<int64_t>(0, length - kShortTokens) / kAttentionTokens;
  }
  return work;
}

// Whether threads that take one pack after the other finish at nearly the same time.
bool balanced(const std::vector<Pack>& packs, int threads) {
  std::vector<int64_t> busy(static_cast<size_t>(threads), 0);
  int64_t total = 0;
  for (const Pack& pack : packs) {
    const int64_t work = work_of(pack);
    *std::min_element(busy.begin(), busy.end()) += work;
    total += work;
  }
  const auto longest = static_cast<double>(*std::max_element(busy.begin(), busy.end()));
  return longest * threads <= kMostIdle * static_cast<double>(total);
}

// Of every token, a number from 0 to `count` - 1. `what` and `problem` make the message.
void check_numbers(const int32_t* numbers, int64_t tokens, int count, const char* what,
                   const char* problem) {
  for (int64_t i = 0; i < tokens; ++i) {
    if (numbers[i] >= 0 && numbers[i] < count) continue;
    throw Error(ErrorKind::argument, std::string(what) + " " + std::to_string(numbers[i]) + " " +
                                         problem + " " + std::to_string(count));
  }
}

// Every token attends to at least one.
void check_attended(int64_t text, int64_t attended, int64_t length) {
  if (attended >= std::min<int64_t>(length, 1) && attended <= length) return;
  throw Error(ErrorKind::argument, "text " + std::to_string(text) + " has " +
                                       std::to_string(length) + " tokens, and " +
                                       std::to_string(attended) + " attended ones");
}

void end_if_stopped(const Stop& stop) {
  if (stop.stopped()) throw Error(ErrorKind::stopped, "stopped by the caller");
}

}  // namespace

Engine::Engine(const std::string& path, int threads, const char* instruction_set)
    : weights_(path),
      kernels_(kernels_called(instruction_set)),
      threads_(checked_threads(threads)),
      team_threads_(with_a_processor_each(threads)),
      pool_(threads) {}

void Engine::check(const Inputs& inputs) const {
  const Sizes& sizes = weights_.sizes;
  const int64_t *offsets = inputs.offsets, *prompts = inputs.prompts;
  if (offsets[0] != 0) throw Error(ErrorKind::argument, "offsets do not start at 0");
  for (int64_t text = 0; text < inputs.texts; ++text) {
    // Each offset is checked against the one before it, so none is used before it is known to be
    // valid.
    const int64_t length =
        offsets[text + 1] < offsets[text] ? -1 : offsets[text + 1] - offsets[text];
    if (length < 0 || length > sizes.positions) {
      throw Error(ErrorKind::argument, "text " + std::to_string(text) + " has " +
                                           std::to_string(length) + " tokens; from 0 to " +
                                           std::to_string(sizes.positions) + " are possible");
    }
    if (prompts && prompts[text] < 0) {
      throw Error(ErrorKind::argument, "text " + std::to_string(text) + " has a prompt of " +
                                           std::to_string(prompts[text]) + " tokens");
    }
    if (inputs.attended_lengths) check_attended(text, inputs.attended_lengths[text], length);
  }
  const int64_t tokens = offsets[inputs.texts];
  check_numbers(inputs.ids, tokens, sizes.vocabulary, "token id", "is not in the vocabulary of");
  if (!inputs.types) return;
  check_numbers(inputs.types, tokens, sizes.token_types, "token type",
                "is unknown; the model's types are below");
}

void Engine::encode(const Inputs& inputs, const Output& output, Stop& stop) {
  check(inputs);
  const int64_t tokens = inputs.offsets[inputs.texts];
  const auto packs_of = [&](int64_t most) { return cut(inputs, weights_, output, most); };
  if (threads_ == 1) return together(packs_of(kMostTokens), 1, stop);
  const int64_t each = std::clamp(tokens / (4 * threads_), kLeastTokens, kMostTokens);
  std::vector<Pack> packs = packs_of(each);
  if (tokens >= threads_ * kLeastTokens && balanced(packs, threads_)) {
    return side_by_side(packs, stop);
  }
  together(packs_of(kTeamTokens), team_threads_, stop);
}

// Computes one pack after the other, each with as many threads as are worth it.
void Engine::together(const std::vector<Pack>& packs, int threads, Stop& stop) {
  if (packs.empty()) return;
  std::unique_ptr<Workspace> space = borrow();
  for (const Pack& pack : packs) {
    // Other calls may hold workers: the team may be smaller than requested, never larger.
    bool failed = false;
    pool_.run(team_size(weights_, pack.rows(), threads), [&](Team& team, int rank) {
      if (rank == 0) {
        try {
          space->reserve(weights_, pack, team.size());
        } catch (const std::bad_alloc&) {
          failed = true;
        }
      }
      team.wait();
      if (!failed) compute(pack, *space, team, rank, stop);
    });
    if (failed) throw std::bad_alloc();
    if (stop.stopped()) break;
  }
  give_back(std::move(space));
  end_if_stopped(stop);
}

// Each thread computes packs by itself and waits for no other.
void Engine::side_by_side(const std::vector<Pack>& packs, Stop& stop) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  const auto threads = static_cast<int>(std::min<size_t>(packs.size(), threads_));
  pool_.run(threads, [&](Team&, int) {
    try {
      std::unique_ptr<Workspace> space = borrow();
      for (size_t i = next++; i < packs.size() && !failed && !stop.stopped(); i = next++) {
        Team alone(1);
        space->reserve(weights_, packs[i], 1);
        compute(packs[i], *space, alone, 0, stop);
      }
      give_back(std::move(space));
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
  end_if_stopped(stop);
}

void Engine::compute(const Pack& pack, Workspace& space, Team& team, int rank, Stop& stop) {
  Forward(weights_, kernels_, pack, space, team, rank, &stop).run();
}

std::unique_ptr<Workspace> Engine::borrow() {
  {
    const std::lock_guard<std::mutex> lock(fork_safe_lock());
    if (!spaces_.empty()) {
      std::unique_ptr<Workspace> space = std::move(spaces_.back());
      spaces_.pop_back();
      return space;
    }
  }
  return std::make_unique<Workspace>();
}

// Many concurrent calls need many workspaces. Keeps no more than the threads can use.
void Engine::give_back(std::unique_ptr<Workspace> space) {
  const std::lock_guard<std::mutex> lock(fork_safe_lock());
  if (spaces_.size() < static_cast<size_t>(threads_)) spaces_.push_back(std::move(space));
}

}  // namespace m3e
