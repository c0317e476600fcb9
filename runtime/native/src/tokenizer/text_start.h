// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "json.h"

namespace m3e {

// Metaspace with the prepend_scheme "first" treats the piece with the beginning of the text
// otherwise, and means the text before normalization. Pieces::starts_text tells that piece unless a
// step before can remove the beginning, or split what the first character became. Throws
// Error(unsupported) that names such a step. The parts are those of a tokenizer.json, or null.
void check_text_start(const Json& normalizer, const Json& pre_tokenizer,
                      bool has_normalized_added_tokens);

}  // namespace m3e
