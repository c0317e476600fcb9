// SPDX-License-Identifier: Apache-2.0
// The part of the C interface about outputs beside the vectors of texts.
#include "c_api.h"

namespace m3e {
namespace {

void require_given(const TokenHeads& heads, const m3e_outputs& outputs) {
  if (outputs.token_weights && !heads.has_weight()) {
    throw Error(ErrorKind::argument, "the model gives no weights of tokens");
  }
  if (outputs.token_vectors && !heads.vector_size()) {
    throw Error(ErrorKind::argument, "the model gives no vectors of tokens");
  }
}

m3e_outputs read_outputs(const m3e_outputs* given) {
  m3e_outputs outputs = M3E_OUTPUTS;
  read_sized(given, &outputs, sizeof outputs, alignof(m3e_outputs), "m3e_outputs");
  require(outputs.vectors, "outputs->vectors");
  return outputs;
}

}  // namespace
}  // namespace m3e

m3e_status m3e_encode_outputs(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                              const int64_t* prompt_lengths, size_t texts,
                              const m3e_outputs* outputs, m3e_stop stop, void* context,
                              char* message) {
  return m3e::guarded(message, [&] {
    m3e::require(encoder, "encoder");
    if (texts == 0) return;
    m3e::require(offsets, "offsets");
    m3e::require(outputs, "outputs");
    m3e::require(ids || offsets[texts] == 0, "ids");
    const m3e_outputs wanted = m3e::read_outputs(outputs);
    m3e::require_given(encoder->engine.token_heads(), wanted);
    m3e::Stop stopping(stop, context);
    const m3e::Output output{
        wanted.vectors, wanted.states, {wanted.token_weights, wanted.token_vectors}};
    encoder->engine.encode(ids, offsets, prompt_lengths, static_cast<int64_t>(texts), output,
                           stopping);
  });
}

int32_t m3e_has_token_weights(const m3e_encoder* encoder) {
  return encoder->engine.token_heads().has_weight();
}

int32_t m3e_token_vector_size(const m3e_encoder* encoder) {
  return encoder->engine.token_heads().vector_size();
}
