// SPDX-License-Identifier: Apache-2.0
#include "c_api.h"

#include <cstring>
#include <new>

namespace m3e {
namespace {

constexpr size_t kLargestStructure = 4096;

// Whether a byte of UTF-8 is not the first one of a character.
bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

m3e_status report(m3e_status status, const char* what, char* message) {
  if (!message) return status;
  size_t length = std::strlen(what);
  if (length >= M3E_MESSAGE_SIZE) {
    length = M3E_MESSAGE_SIZE - 1;
    while (length && is_continuation(what[length])) --length;  // no half of a character
  }
  std::memcpy(message, what, length);
  message[length] = '\0';
  return status;
}

m3e_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::argument:
      return M3E_ERROR_ARGUMENT;
    case ErrorKind::file:
      return M3E_ERROR_FILE;
    case ErrorKind::format:
      return M3E_ERROR_FORMAT;
    case ErrorKind::stopped:
      return M3E_STOPPED;
    case ErrorKind::unsupported:
      return M3E_ERROR_UNSUPPORTED;
    case ErrorKind::integrity:
      return M3E_ERROR_INTEGRITY;
  }
  return M3E_ERROR_INTERNAL;
}

std::string all_instruction_sets() {
  const char* names[16];
  const int count = supported_kernels(names, 16);
  std::string all;
  for (int i = 0; i < count; ++i) all += std::string(i ? " " : "") + names[i];
  return all;
}

}  // namespace

m3e_status report_exception(char* message) {
  try {
    throw;
  } catch (const Error& error) {
    return report(status_of(error.kind), error.what(), message);
  } catch (const std::bad_alloc&) {
    return report(M3E_ERROR_MEMORY, "not enough memory", message);
  } catch (const std::exception& error) {
    return report(M3E_ERROR_INTERNAL, error.what(), message);
  } catch (...) {
    return report(M3E_ERROR_INTERNAL, "unknown error", message);
  }
}

void require(bool given, const char* what) {
  if (!given) throw Error(ErrorKind::argument, std::string(what) + " is NULL");
}

void read_sized(const void* given, void* structure, size_t known, size_t alignment,
                const char* name) {
  if (!given) return;
  size_t size;
  std::memcpy(&size, given, sizeof size);
  if (size < sizeof size || size > kLargestStructure || size % alignment) {
    throw Error(ErrorKind::argument, std::string(name) + ".size is " + std::to_string(size) +
                                         "; start from the macro that sets it");
  }
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (size_t at = known; at < size; ++at) {
    if (bytes[at]) {
      throw Error(ErrorKind::argument,
                  std::string(name) +
                      " asks for something that this library does not know; it is "
                      "older than its caller");
    }
  }
  std::memcpy(structure, given, size < known ? size : known);
}

}  // namespace m3e

using m3e::guarded;
using m3e::require;

uint32_t m3e_abi_version(void) { return M3E_ABI_VERSION; }

const char* m3e_instruction_sets(void) {
  static const std::string all = m3e::all_instruction_sets();
  return all.c_str();
}

m3e_status m3e_load(const char* path, const m3e_options* options, m3e_encoder** encoder,
                    char* message) {
  if (encoder) *encoder = nullptr;
  return guarded(message, [&] {
    require(path, "path");
    require(encoder, "encoder");
    const m3e_options chosen = m3e::read_options(options);
    *encoder = new m3e_encoder{m3e::Engine(path, chosen.threads, chosen.instruction_set)};
  });
}

m3e_status m3e_encode(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                      size_t texts, float* vectors, char* message) {
  return m3e_encode_prompted(encoder, ids, offsets, nullptr, texts, vectors, message);
}

m3e_status m3e_encode_prompted(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                               const int64_t* prompt_lengths, size_t texts, float* vectors,
                               char* message) {
  return m3e_encode_stoppable(encoder, ids, offsets, prompt_lengths, texts, vectors, nullptr,
                              nullptr, message);
}

namespace {

m3e_inputs inputs_of(const int32_t* ids, const int64_t* offsets, size_t texts,
                     const int64_t* prompt_lengths) {
  m3e_inputs inputs = M3E_INPUTS;
  inputs.ids = ids;
  inputs.offsets = offsets;
  inputs.texts = texts;
  inputs.prompt_lengths = prompt_lengths;
  return inputs;
}

}  // namespace

m3e_status m3e_run(m3e_encoder* encoder, const m3e_inputs* inputs, float* vectors, float* states,
                   m3e_stop stop, void* context, char* message) {
  m3e_outputs outputs = M3E_OUTPUTS;
  outputs.vectors = vectors;
  outputs.states = states;
  return m3e_run_outputs(encoder, inputs, &outputs, stop, context, message);
}

// Volatile, as another thread writes it: whichever language that is, it has no std::atomic here.
// Another thread writes the flag. The caller may be in C, which has no std::atomic.
int m3e_stop_if_set(void* flag) {
  return __atomic_load_n(static_cast<const int32_t*>(flag), __ATOMIC_RELAXED) != 0;
}

m3e_status m3e_encode_stoppable(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                                const int64_t* prompt_lengths, size_t texts, float* vectors,
                                m3e_stop stop, void* context, char* message) {
  const m3e_inputs inputs = inputs_of(ids, offsets, texts, prompt_lengths);
  return m3e_run(encoder, &inputs, vectors, nullptr, stop, context, message);
}

m3e_status m3e_encode_tokens(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                             const int64_t* prompt_lengths, size_t texts, float* vectors,
                             float* states, m3e_stop stop, void* context, char* message) {
  const m3e_status given = guarded(message, [&] { require(states || !texts, "states"); });
  if (given != M3E_OK) return given;
  const m3e_inputs inputs = inputs_of(ids, offsets, texts, prompt_lengths);
  return m3e_run(encoder, &inputs, vectors, states, stop, context, message);
}

int32_t m3e_dimension(const m3e_encoder* encoder) { return encoder->engine.sizes().dimension; }
int32_t m3e_hidden_size(const m3e_encoder* encoder) { return encoder->engine.sizes().hidden; }
int32_t m3e_max_tokens(const m3e_encoder* encoder) { return encoder->engine.sizes().positions; }
int32_t m3e_vocabulary_size(const m3e_encoder* encoder) {
  return encoder->engine.sizes().vocabulary;
}
int32_t m3e_token_types(const m3e_encoder* encoder) { return encoder->engine.sizes().token_types; }
int32_t m3e_threads(const m3e_encoder* encoder) { return encoder->engine.threads(); }
const char* m3e_instruction_set(const m3e_encoder* encoder) {
  return encoder->engine.instruction_set();
}
const char* m3e_arithmetic(const m3e_encoder* encoder) { return encoder->engine.arithmetic(); }

void m3e_free(m3e_encoder* encoder) { delete encoder; }
