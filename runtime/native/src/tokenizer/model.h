// SPDX-License-Identifier: Apache-2.0
// Models of a tokenizer.json: from a piece of text to token ids, as the crate `tokenizers` computes
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace m3e {

class JsonText;

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `piece`, valid UTF-8. Several threads may call it at once. Stops early when
  // `ids` has `most` entries or more; what it appended up to there is unchanged by stopping. Throws
  // Error(format) if the piece needs an unknown token that the vocabulary lacks.
  virtual void tokenize(std::string_view piece, size_t most, std::vector<int32_t>& ids) const = 0;
  virtual std::optional<int32_t> id_of(std::string_view token) const = 0;
  virtual size_t size() const = 0;         // entries of the vocabulary
  virtual int32_t largest_id() const = 0;  // -1 if there is none; ids may have gaps
};

// Reads the member "model" of a tokenizer.json, given as JSON text: its vocabulary is too large for
// Json. Errors as read_normalizer.
std::unique_ptr<TokenModel> read_model(std::string_view json);

// The same for the value that comes next in `json`.
std::unique_ptr<TokenModel> read_model(JsonText& json);

}  // namespace m3e
