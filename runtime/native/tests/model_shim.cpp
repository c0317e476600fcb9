// SPDX-License-Identifier: Apache-2.0
// A C interface to the models of a tokenizer.json, for tests alone.
#include <cstring>

#include "error.h"
#include "json_text.h"
#include "tokenizer/model.h"

namespace {

template <class Do>
int64_t guarded(char* message, size_t room, Do run) {
  try {
    return run();
  } catch (const m3e::Error& error) {
    std::strncpy(message, error.what(), room - 1);
    message[room - 1] = 0;
    return -1 - static_cast<int64_t>(error.kind);
  }
}

}  // namespace

extern "C" {

// 0, or below 0: the error.
int64_t model_open(const char* json, size_t size, m3e::TokenModel** model, char* message,
                   size_t room) {
  return guarded(message, room, [&] {
    *model = m3e::read_model({json, size}).release();
    return 0;
  });
}

void model_close(m3e::TokenModel* model) { delete model; }

int64_t model_size(const m3e::TokenModel* model) { return static_cast<int64_t>(model->size()); }

int64_t model_id(const m3e::TokenModel* model, const char* token, size_t size) {
  return model->id_of({token, size}).value_or(-1);
}

// Whether all of `text` is a number.
bool number_read(const char* text, size_t size, double* value) {
  m3e::JsonNumber number;
  const char* at = text;
  if (!m3e::read_json_number(at, text + size, number) || at != text + size) return false;
  *value = number.value;
  return true;
}

// The number of ids, of which `ids` gets up to `room_for_ids`; below 0: the error.
int64_t model_tokenize(const m3e::TokenModel* model, const char* piece, size_t size, size_t most,
                       int32_t* ids, size_t room_for_ids, char* message, size_t room) {
  return guarded(message, room, [&] {
    std::vector<int32_t> found;
    model->tokenize({piece, size}, most, found);
    for (size_t i = 0; i < found.size() && i < room_for_ids; ++i) ids[i] = found[i];
    return static_cast<int64_t>(found.size());
  });
}
}
