// SPDX-License-Identifier: Apache-2.0
// What a manifest says of how close an artifact is to the oracle.
#pragma once

#include <cstdint>
#include <string>

#include "json.h"

namespace m3e {

// Of vectors.
struct Fidelity {
  std::string oracle;
  int64_t texts = 0;
  double mean_cosine = 0, p1_cosine = 0, min_cosine = 0, overlap_at_10 = 0;
};

// Of logits.
struct ScoreFidelity {
  std::string oracle;
  int64_t groups = 0, pairs = 0;
  double mean_difference = 0, max_difference = 0, order_kept = 0, ndcg_at_10 = 0;
};

// Each throws Error(format); `where` names the object in messages.
Fidelity read_fidelity(const Json& json, const std::string& where);
ScoreFidelity read_score_fidelity(const Json& json, const std::string& where);

}  // namespace m3e
