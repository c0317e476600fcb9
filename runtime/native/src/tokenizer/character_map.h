// SPDX-License-Identifier: Apache-2.0
// The map of the normalizer Precompiled: SentencePiece's `precompiled_charsmap`, an array of Darts
// (a trie) and the texts that its values point into.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace m3e {

class CharacterMap {
 public:
  // Throws Error(format) if `blob` is damaged.
  explicit CharacterMap(std::string_view blob);
  // The same, of a blob in base64.
  static CharacterMap of_base64(std::string_view text);

  // What the shortest prefix of `text` that the map has becomes; it stands for all of `text`.
  // Throws Error(format) if the map points outside of itself.
  std::optional<std::string_view> find(std::string_view text) const;

 private:
  uint32_t unit(size_t position) const;
  std::string_view value(size_t begin) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // each ends with NUL
};

}  // namespace m3e
