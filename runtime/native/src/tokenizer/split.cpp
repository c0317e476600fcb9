// SPDX-License-Identifier: Apache-2.0
#include "split.h"

#include <algorithm>

#include "error.h"

namespace m3e {
namespace {

void merge_runs(Spans& spans) {
  Spans merged;
  for (const Span& span : spans) {
    if (!merged.empty() && merged.back().match == span.match) {
      merged.back().end = span.end;
    } else {
      merged.push_back(span);
    }
  }
  spans = std::move(merged);
}

// Only the first of several matches in a row joins what precedes it.
void merge_with_previous(Spans& spans) {
  Spans merged;
  bool after_match = false;
  for (const Span& span : spans) {
    if (span.match && !after_match && !merged.empty()) {
      merged.back().end = span.end;
    } else {
      merged.push_back(span);
    }
    after_match = span.match;
  }
  spans = std::move(merged);
}

void merge_with_next(Spans& spans) {
  Spans merged;
  bool before_match = false;
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    if (span->match && !before_match && !merged.empty()) {
      merged.back().begin = span->begin;
    } else {
      merged.push_back(*span);
    }
    before_match = span->match;
  }
  std::reverse(merged.begin(), merged.end());
  spans = std::move(merged);
}

void remove_matches(Spans& spans) {
  spans.erase(
      std::remove_if(spans.begin(), spans.end(), [](const Span& span) { return span.match; }),
      spans.end());
}

}  // namespace

SplitBehavior split_behavior(const std::string& name) {
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  refuse("pre_tokenizer has the unknown behavior \"" + name + "\"");
}

void apply_behavior(SplitBehavior behavior, Spans& spans) {
  switch (behavior) {
    case SplitBehavior::removed:
      return remove_matches(spans);
    case SplitBehavior::isolated:
      return;
    case SplitBehavior::merged_with_previous:
      return merge_with_previous(spans);
    case SplitBehavior::merged_with_next:
      return merge_with_next(spans);
    case SplitBehavior::contiguous:
      return merge_runs(spans);
  }
}

}  // namespace m3e
