// SPDX-License-Identifier: Apache-2.0
#include "metaspace.h"

#include "character_splits.h"
#include "error.h"
#include "unicode.h"

namespace m3e {
namespace {

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

std::string as_utf8(char32_t character) {
  std::string text;
  unicode::append(text, character);
  return text;
}

}  // namespace

Metaspace::Metaspace(const Json& described)
    : replacement_(as_utf8(read_character(described, "replacement"))),
      prepend_(read_prepend(described)),
      split_(described.flag("split", true)) {}

Metaspace::Prepend Metaspace::read_prepend(const Json& described) {
  const std::string scheme = described.text("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    refuse("pre_tokenizer Metaspace has the unknown prepend_scheme \"" + scheme + "\"");
  }
  if (scheme != "never" && !described.flag("add_prefix_space", true)) {
    refuse("pre_tokenizer Metaspace has add_prefix_space and another prepend_scheme");
  }
  return scheme == "always" ? Prepend::always : scheme == "first" ? Prepend::first : Prepend::never;
}

bool Metaspace::prepends(std::string_view text, bool starts_text) const {
  if (prepend_ == Prepend::never || (prepend_ == Prepend::first && !starts_text)) return false;
  return text.front() != ' ' && !starts_with(text, replacement_);
}

void Metaspace::append(std::string_view text, bool starts_text, Pieces& to) const {
  size_t begin = to.text.size();
  const auto end_piece = [&](bool starts) {
    if (begin < to.text.size()) to.pieces.push_back({begin, to.text.size(), starts});
    begin = to.text.size();
  };
  const size_t first = begin;
  if (prepends(text, starts_text)) to.text += replacement_;
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    const char* behind = at;
    unicode::next(behind);
    const std::string_view character(at, static_cast<size_t>(behind - at));
    const bool replaced = character == " " || character == replacement_;
    if (replaced && split_) end_piece(starts_text && begin == first);
    to.text += replaced ? std::string_view(replacement_) : character;
    at = behind;
  }
  end_piece(starts_text && begin == first);
}

void Metaspace::apply(Pieces& pieces) const {
  Pieces made;
  made.text.reserve(pieces.text.size() + pieces.text.size() / 2 + 16);
  made.pieces.reserve(pieces.pieces.size());
  for (const Pieces::Piece& piece : pieces.pieces) {
    append(pieces.view(piece), piece.starts_text, made);
  }
  pieces = std::move(made);
}

}  // namespace m3e
