// SPDX-License-Identifier: Apache-2.0
// The members of "model" in a tokenizer.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/vocabulary.h"

namespace m3e {

class ModelJson {
 public:
  // Reads the object that comes next. The last member of a name counts. The text must outlive this.
  explicit ModelJson(JsonText& json);

  // "BPE", "Unigram", "WordLevel" or "WordPiece"; where the type is missing, as files of old
  // versions have it, told by the other members.
  std::string type() const;

  std::string string(const char* name) const;  // must be there
  uint64_t natural(const char* name) const;    // must be there
  // Without a value where the member is missing or null.
  std::optional<std::string> optional_string(const char* name) const;
  std::optional<uint64_t> optional_natural(const char* name) const;
  std::optional<double> optional_number(const char* name) const;
  bool flag(const char* name) const;                  // false where it is missing
  bool flag_or_null(const char* name) const;          // false where it is null, too
  std::string_view text(const char* name) const;      // empty where it is missing
  std::string_view required(const char* name) const;  // the text

  Vocabulary vocabulary;

 private:
  // The members that any model has, and their texts, which are empty where they are missing.
  static constexpr const char* kNames[] = {"type",
                                           "unk_token",
                                           "unk_id",
                                           "continuing_subword_prefix",
                                           "end_of_word_suffix",
                                           "max_input_chars_per_word",
                                           "fuse_unk",
                                           "byte_fallback",
                                           "ignore_merges",
                                           "dropout",
                                           "merges"};
  static constexpr size_t kCount = sizeof(kNames) / sizeof(kNames[0]);

  static size_t index_of(std::string_view name);
  bool has(const char* name) const { return !text(name).empty(); }
  bool is_null(const char* name) const { return !has(name) || text(name) == "null"; }

  std::string_view texts_[kCount];
};

}  // namespace m3e
