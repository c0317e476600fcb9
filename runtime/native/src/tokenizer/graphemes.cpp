// SPDX-License-Identifier: Apache-2.0
#include "unicode.h"

namespace m3e::unicode {
namespace {

bool is_control(Grapheme g) { return g == Grapheme::control; }

// Rules GB6 to GB8.
bool hangul_joins(Grapheme before, Grapheme after) {
  using G = Grapheme;
  switch (before) {
    case G::hangul_l:
      return after == G::hangul_l || after == G::hangul_v || after == G::hangul_lv ||
             after == G::hangul_lvt;
    case G::hangul_lv:
    case G::hangul_v:
      return after == G::hangul_v || after == G::hangul_t;
    case G::hangul_lvt:
    case G::hangul_t:
      return after == G::hangul_t;
    default:
      return false;
  }
}

// A cluster, read character by character.
class Cluster {
 public:
  explicit Cluster(uint32_t record) { push(record); }

  // Takes the next character if it belongs to the cluster.
  bool join(uint32_t record) {
    if (!joins(grapheme_of(record))) return false;
    push(record);
    return true;
  }

 private:
  bool joins(Grapheme after) const {
    using G = Grapheme;
    if (is_control(last_) || is_control(after)) return false;           // GB4, GB5
    if (hangul_joins(last_, after)) return true;                        // GB6 to GB8
    if (after == G::extend || after == G::zwj) return true;             // GB9
    if (after == G::spacing_mark || last_ == G::prepend) return true;   // GB9a, GB9b
    if (after == G::consonant) return conjunct_ == Conjunct::linked;    // GB9c
    return after == G::pictographic && pictograph_ == Pictograph::zwj;  // GB11
  }

  void push(uint32_t record) {
    last_ = grapheme_of(record);
    push_conjunct(record);
    push_pictograph();
  }

  void push_conjunct(uint32_t record) {
    if (last_ == Grapheme::consonant) {
      conjunct_ = Conjunct::consonant;
    } else if (record & kLinker) {
      if (conjunct_ == Conjunct::consonant) conjunct_ = Conjunct::linked;
    } else if (!(record & kIncbExtend)) {
      conjunct_ = Conjunct::none;
    }
  }

  void push_pictograph() {
    if (last_ == Grapheme::pictographic) {
      pictograph_ = Pictograph::open;
    } else if (last_ == Grapheme::zwj && pictograph_ == Pictograph::open) {
      pictograph_ = Pictograph::zwj;
    } else if (last_ != Grapheme::extend || pictograph_ == Pictograph::zwj) {
      pictograph_ = Pictograph::none;
    }
  }

  enum class Conjunct { none, consonant, linked } conjunct_ = Conjunct::none;
  enum class Pictograph { none, open, zwj } pictograph_ = Pictograph::none;
  Grapheme last_ = Grapheme::other;
};

}  // namespace

const char* grapheme_end(const char* begin, const char* end) {
  const char* at = begin;
  const char32_t first = next(at);
  if (first == '\r' && at < end && *at == '\n') return at + 1;  // GB3
  Cluster cluster(record_of(first));
  while (at < end) {
    const char* const after = at;
    if (!cluster.join(record_of(next(at)))) return after;
  }
  return at;
}

}  // namespace m3e::unicode
