// SPDX-License-Identifier: Apache-2.0
// How pre-tokenizers split pieces: a pattern finds spans, a behavior says what becomes of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pre_tokenizer.h"
#include "unicode.h"

namespace m3e {

// A part of a piece that a pattern matched, or that lies between two matches.
struct Span {
  size_t begin;
  size_t end;
  bool match;
};

using Spans = std::vector<Span>;

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// By its name in a tokenizer.json. Throws Error(format) for another name.
SplitBehavior split_behavior(const std::string& name);

// Turns the spans of a piece, which cover it, into the spans that are kept.
void apply_behavior(SplitBehavior behavior, Spans& spans);

// Calls find(text of the piece, spans) for each piece and replaces it by the parts that `spans`
// holds then. Empty parts are dropped.
template <class Find>
void replace_by_parts(Pieces& pieces, Find find) {
  std::vector<Pieces::Piece> parts;
  parts.reserve(pieces.pieces.size());
  Spans spans;
  for (const Pieces::Piece& piece : pieces.pieces) {
    spans.clear();
    find(pieces.view(piece), spans);
    for (const Span& span : spans) {
      if (span.begin == span.end) continue;
      parts.push_back(
          {piece.begin + span.begin, piece.begin + span.end, piece.starts_text && span.begin == 0});
    }
  }
  pieces.pieces = std::move(parts);
}

// Spans of a pattern that matches single characters.
template <class Matches>
void find_characters(std::string_view text, Matches matches, Spans& spans) {
  size_t unmatched = 0;
  for (const char* at = text.data(); at < text.data() + text.size();) {
    const size_t begin = static_cast<size_t>(at - text.data());
    if (!matches(unicode::next(at))) continue;
    const size_t end = static_cast<size_t>(at - text.data());
    if (unmatched < begin) spans.push_back({unmatched, begin, false});
    spans.push_back({begin, end, true});
    unmatched = end;
  }
  if (unmatched < text.size()) spans.push_back({unmatched, text.size(), false});
}

}  // namespace m3e
