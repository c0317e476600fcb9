// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/model.h"

#include "error.h"
#include "json_text.h"
#include "tokenizer/model_json.h"
#include "tokenizer/models.h"

namespace m3e {

namespace {

// The crate allows 127 levels, and the model is within the tokenizer.
constexpr int kDeepest = 126;

}  // namespace

std::unique_ptr<TokenModel> read_model(std::string_view text) {
  JsonText json(text, kDeepest);
  std::unique_ptr<TokenModel> model = read_model(json);
  json.end();
  return model;
}

std::unique_ptr<TokenModel> read_model(JsonText& text) {
  ModelJson json(text);
  const std::string type = json.type();
  if (type == "BPE") return make_bpe(json);
  if (type == "Unigram") return make_unigram(json);
  if (type == "WordLevel") return make_word_level(json);
  if (type == "WordPiece") return make_word_piece(json);
  throw Error(ErrorKind::unsupported, "the tokenizer's model \"" + type + "\" is not supported");
}

}  // namespace m3e
