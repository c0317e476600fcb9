// SPDX-License-Identifier: Apache-2.0
// The part of the C interface that runs the engine.
#include "c_api.h"

namespace m3e {
namespace {

void require_given(const Engine& engine, const m3e_outputs& outputs) {
  const TokenHeads& heads = engine.token_heads();
  if (outputs.token_weights && !heads.has_weight()) {
    throw Error(ErrorKind::argument, "the model gives no weights of tokens");
  }
  if (outputs.token_vectors && !heads.vector_size()) {
    throw Error(ErrorKind::argument, "the model gives no vectors of tokens");
  }
  if (outputs.term_weights && !engine.has_term_weights()) {
    throw Error(ErrorKind::argument, "the model gives no weights of terms");
  }
}

m3e_inputs read_inputs(const m3e_inputs* given) {
  require(given, "inputs");
  m3e_inputs inputs = M3E_INPUTS;
  read_sized(given, &inputs, sizeof inputs, alignof(m3e_inputs), "m3e_inputs");
  return inputs;
}

m3e_outputs read_outputs(const m3e_outputs* given) {
  require(given, "outputs");
  m3e_outputs outputs = M3E_OUTPUTS;
  read_sized(given, &outputs, sizeof outputs, alignof(m3e_outputs), "m3e_outputs");
  return outputs;
}

}  // namespace
}  // namespace m3e

m3e_status m3e_run_outputs(m3e_encoder* encoder, const m3e_inputs* inputs,
                           const m3e_outputs* outputs, m3e_stop stop, void* context,
                           char* message) {
  return m3e::guarded(message, [&] {
    m3e::require(encoder, "encoder");
    const m3e_inputs given = m3e::read_inputs(inputs);
    if (given.texts == 0) return;
    const m3e_outputs wanted = m3e::read_outputs(outputs);
    m3e::require(given.offsets, "offsets");
    m3e::require(wanted.vectors, "vectors");
    m3e::require(given.ids || given.offsets[given.texts] == 0, "ids");
    m3e::require_given(encoder->engine, wanted);
    m3e::Stop stopping(stop, context);
    encoder->engine.encode({given.ids, given.offsets, static_cast<int64_t>(given.texts),
                            given.prompt_lengths, given.token_types, given.attended_lengths},
                           {wanted.vectors,
                            wanted.states,
                            {wanted.token_weights, wanted.token_vectors},
                            wanted.term_weights},
                           stopping);
  });
}

int32_t m3e_has_token_weights(const m3e_encoder* encoder) {
  return encoder->engine.token_heads().has_weight();
}

int32_t m3e_has_term_weights(const m3e_encoder* encoder) {
  return encoder->engine.has_term_weights();
}

int32_t m3e_token_vector_size(const m3e_encoder* encoder) {
  return encoder->engine.token_heads().vector_size();
}
