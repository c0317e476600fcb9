// SPDX-License-Identifier: Apache-2.0
// The models, each made from the members of "model". They take the vocabulary away.
#pragma once

#include <memory>

#include "tokenizer/model.h"
#include "tokenizer/model_json.h"

namespace m3e {

std::unique_ptr<TokenModel> make_bpe(ModelJson& json);
std::unique_ptr<TokenModel> make_unigram(ModelJson& json);
std::unique_ptr<TokenModel> make_word_level(ModelJson& json);
std::unique_ptr<TokenModel> make_word_piece(ModelJson& json);

}  // namespace m3e
