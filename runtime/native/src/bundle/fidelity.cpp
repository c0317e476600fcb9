// SPDX-License-Identifier: Apache-2.0
#include "fidelity.h"

#include "fields.h"

namespace m3e {
namespace {

void check_numbers(Fields& fields, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (fields.has(name)) fields.number(name);
  }
}

// What was measured, and whether it had to hold.
void check_gate(Fields& fields) {
  fields.flag("enforced");
  if (fields.has("of")) fields.word("of", {"artifact", "graph"});
  fields.end();
}

}  // namespace

Fidelity read_fidelity(const Json& json, const std::string& where) {
  Fields fields(json, where);
  Fidelity fidelity;
  fidelity.oracle = fields.text("oracle");
  fidelity.texts = fields.integer("texts");
  fidelity.mean_cosine = fields.number("mean_cosine");
  fidelity.p1_cosine = fields.number("p1_cosine");
  fidelity.min_cosine = fields.number("min_cosine");
  fidelity.overlap_at_10 = fields.number("overlap_at_10");
  fields.number("max_abs_difference");
  fields.number("spearman");
  Fields thresholds(fields.value("thresholds"), fields.path("thresholds"));
  check_numbers(thresholds, {"mean_cosine", "p1_cosine", "min_cosine", "overlap_at_10"});
  thresholds.end();
  check_gate(fields);
  return fidelity;
}

ScoreFidelity read_score_fidelity(const Json& json, const std::string& where) {
  Fields fields(json, where);
  ScoreFidelity fidelity;
  fidelity.oracle = fields.text("oracle");
  fidelity.groups = fields.integer("groups");
  fidelity.pairs = fields.integer("pairs");
  fidelity.mean_difference = fields.number("mean_difference");
  fidelity.max_difference = fields.number("max_difference");
  fidelity.order_kept = fields.number("order_kept");
  fidelity.ndcg_at_10 = fields.number("ndcg_at_10");
  Fields thresholds(fields.value("thresholds"), fields.path("thresholds"));
  if (thresholds.given("max_difference")) thresholds.number("max_difference");
  check_numbers(thresholds, {"order_kept", "ndcg_at_10"});
  thresholds.end();
  check_gate(fields);
  return fidelity;
}

}  // namespace m3e
