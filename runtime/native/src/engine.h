// SPDX-License-Identifier: Apache-2.0
// Loaded weights, an instruction set and threads: encodes token ids to sentence vectors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "forward.h"
#include "kernels/kernels.h"
#include "thread_pool.h"
#include "weights.h"

namespace m3e {

// Texts as token ids; see m3e_inputs.
struct Inputs {
  const int32_t* ids;
  const int64_t* offsets;  // [texts + 1]
  int64_t texts;
  const int64_t* prompts = nullptr;
  const int32_t* types = nullptr;
  const int64_t* attended_lengths = nullptr;
};

class Engine {
 public:
  // `instruction_set` is a name from supported_kernels, or null for the fastest.
  Engine(const std::string& path, int threads, const char* instruction_set);

  // See m3e_run. Several threads may call it at once.
  void encode(const Inputs& inputs, const Output& output, Stop& stop);

  const Sizes& sizes() const { return weights_.sizes; }
  const TokenHeads& token_heads() const { return weights_.token_heads; }
  bool has_term_weights() const { return weights_.term_head.exists(); }
  const char* instruction_set() const { return kernels_.name; }
  const char* arithmetic() const { return weights_.arithmetic(kernels_); }
  int threads() const { return threads_; }

 private:
  void check(const Inputs& inputs) const;
  void together(const std::vector<Pack>& packs, int threads, Stop& stop);
  void side_by_side(const std::vector<Pack>& packs, Stop& stop);
  void compute(const Pack& pack, Workspace& space, Team& team, int rank, Stop& stop);
  std::unique_ptr<Workspace> borrow();
  void give_back(std::unique_ptr<Workspace> space);

  const Weights weights_;
  const Kernels& kernels_;
  const int threads_;
  const int team_threads_;  // of a team whose members wait for each other
  ThreadPool pool_;
  std::vector<std::unique_ptr<Workspace>> spaces_;  // idle ones; guarded by fork_safe_lock()
};

}  // namespace m3e
