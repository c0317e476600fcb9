// SPDX-License-Identifier: Apache-2.0
#include "choice.h"

#include <algorithm>
#include <tuple>

#include "error.h"

namespace m3e {
namespace {

constexpr const char* kWeightsVersion = "3";  // that weights.cpp reads

bool is_for_gpu(const Artifact& artifact) { return artifact.target.compare(0, 4, "cuda") == 0; }

// fp16 follows fp32: on a CPU both compute in fp32, and fp16 has rounded weights.
int rank_of_precision(const Artifact& artifact) {
  return artifact.precision == "int8" ? 0 : artifact.precision == "fp32" ? 1 : 2;
}

int rank_of_target(const Artifact& artifact) {
  return artifact.target == "cpu" ? 0 : artifact.target == "portable" ? 1 : 2;
}

bool is_faster(const Artifact* a, const Artifact* b) {
  return std::make_tuple(rank_of_precision(*a), rank_of_target(*a)) <
         std::make_tuple(rank_of_precision(*b), rank_of_target(*b));
}

std::string names_of(const Manifest& manifest) {
  std::string names;
  for (const Artifact& each : manifest.artifacts) names += (names.empty() ? "" : ", ") + each.name;
  return names;
}

// The last one of that name, as in Python.
const Artifact& find(const Bundle& bundle, const std::string& name) {
  const std::vector<Artifact>& all = bundle.manifest().artifacts;
  for (auto each = all.rbegin(); each != all.rend(); ++each) {
    if (each->name == name) return *each;
  }
  throw Error(ErrorKind::argument, bundle.path() + " has no artifact '" + name +
                                       "'; it has: " + names_of(bundle.manifest()));
}

[[noreturn]] void none_runs(const Bundle& bundle, const std::vector<const Artifact*>& considered) {
  std::string reasons;
  for (const Artifact* each : considered) {
    reasons += (reasons.empty() ? "" : "; ") + each->name + " " + why_not_here(*each);
  }
  throw Error(ErrorKind::unsupported, bundle.path() +
                                          ": this library runs none of its artifacts: " + reasons +
                                          ". Export the checkpoint with `--target native`");
}

}  // namespace

std::string why_not_here(const Artifact& artifact) {
  if (artifact.format != "native") return "is for another engine (" + artifact.format + ")";
  if (is_for_gpu(artifact)) return "is for a GPU";
  for (const auto& [engine, version] : artifact.requirements) {
    if (engine != "native" || version != kWeightsVersion) {
      return "requires " + engine + " " + version + ", and this library has native " +
             kWeightsVersion;
    }
  }
  return "";
}

const Artifact& choose_artifact(const Bundle& bundle, const char* name) {
  std::vector<const Artifact*> considered;
  if (name) {
    considered.push_back(&find(bundle, name));
  } else {
    for (const Artifact& each : bundle.manifest().artifacts) {
      if (&find(bundle, each.name) == &each) considered.push_back(&each);
    }
  }
  std::vector<const Artifact*> runnable;
  for (const Artifact* each : considered) {
    if (why_not_here(*each).empty()) runnable.push_back(each);
  }
  if (runnable.empty()) none_runs(bundle, considered);
  return **std::min_element(runnable.begin(), runnable.end(), is_faster);
}

}  // namespace m3e
