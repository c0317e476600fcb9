// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/models.h"
#include "tokenizer/token_ids.h"

namespace m3e {
namespace {

class WordLevel : public TokenModel {
 public:
  explicit WordLevel(ModelJson& json)
      : tokens_(json.vocabulary),
        unknown_(json.string("unk_token")),
        unknown_id_(tokens_.find(unknown_)) {}

  void tokenize(std::string_view piece, size_t, std::vector<int32_t>& ids) const override {
    const std::optional<int32_t> id = tokens_.find(piece);
    if (!id && !unknown_id_) refuse_unknown(unknown_);
    ids.push_back(id ? *id : *unknown_id_);
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    return tokens_.find(token);
  }
  size_t size() const override { return tokens_.size(); }
  int32_t largest_id() const override { return tokens_.largest(); }

 private:
  TokenIds tokens_;
  std::string unknown_;
  std::optional<int32_t> unknown_id_;
};

}  // namespace

std::unique_ptr<TokenModel> make_word_level(ModelJson& json) {
  return std::make_unique<WordLevel>(json);
}

}  // namespace m3e
