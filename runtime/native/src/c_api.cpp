#include <cstdio>
#include <new>
#include <string>

#include "engine.h"
#include "error.h"
#include "m3e.h"

struct m3e_encoder {
  m3e::Engine engine;
};

namespace {

void report(char* message, const char* what) {
  if (message) std::snprintf(message, M3E_MESSAGE_SIZE, "%s", what);
}

m3e_status status_of(m3e::ErrorKind kind) {
  switch (kind) {
    case m3e::ErrorKind::argument:
      return M3E_ERROR_ARGUMENT;
    case m3e::ErrorKind::file:
      return M3E_ERROR_FILE;
    case m3e::ErrorKind::format:
      return M3E_ERROR_FORMAT;
    case m3e::ErrorKind::stopped:
      return M3E_STOPPED;
    case m3e::ErrorKind::unsupported:
      return M3E_ERROR_UNSUPPORTED;
    case m3e::ErrorKind::integrity:
      return M3E_ERROR_INTEGRITY;
  }
  return M3E_ERROR_INTERNAL;
}

// No exception may cross into C.
template <class Body>
m3e_status guarded(char* message, Body body) {
  try {
    body();
    return M3E_OK;
  } catch (const m3e::Error& error) {
    report(message, error.what());
    return status_of(error.kind);
  } catch (const std::bad_alloc&) {
    report(message, "not enough memory");
    return M3E_ERROR_MEMORY;
  } catch (const std::exception& error) {
    report(message, error.what());
  } catch (...) {
    report(message, "unknown error");
  }
  return M3E_ERROR_INTERNAL;
}

void require(bool given, const char* what) {
  if (!given) throw m3e::Error(m3e::ErrorKind::argument, std::string(what) + " is NULL");
}

std::string all_instruction_sets() {
  const char* names[16];
  const int count = m3e::supported_kernels(names, 16);
  std::string all;
  for (int i = 0; i < count; ++i) all += std::string(i ? " " : "") + names[i];
  return all;
}

}  // namespace

uint32_t m3e_abi_version(void) { return M3E_ABI_VERSION; }

const char* m3e_instruction_sets(void) {
  static const std::string all = all_instruction_sets();
  return all.c_str();
}

m3e_status m3e_load(const char* path, const m3e_options* options, m3e_encoder** encoder,
                    char* message) {
  if (encoder) *encoder = nullptr;
  return guarded(message, [&] {
    require(path, "path");
    require(encoder, "encoder");
    const m3e_options chosen = options ? *options : m3e_options M3E_OPTIONS;
    *encoder = new m3e_encoder{
        m3e::Engine(path, chosen.threads ? chosen.threads : 1, chosen.instruction_set)};
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

m3e_status encode(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                  const int64_t* prompt_lengths, size_t texts, const m3e::Output& output,
                  m3e_stop stop, void* context, char* message) {
  return guarded(message, [&] {
    require(encoder, "encoder");
    if (texts == 0) return;
    require(offsets, "offsets");
    require(output.vectors, "vectors");
    require(ids || offsets[texts] == 0, "ids");
    m3e::Stop stopping(stop, context);
    encoder->engine.encode(ids, offsets, prompt_lengths, static_cast<int64_t>(texts), output,
                           stopping);
  });
}

}  // namespace

// Volatile, as another thread writes it: whichever language that is, it has no std::atomic here.
int m3e_stop_if_set(void* flag) { return *static_cast<const volatile int32_t*>(flag) != 0; }

m3e_status m3e_encode_stoppable(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                                const int64_t* prompt_lengths, size_t texts, float* vectors,
                                m3e_stop stop, void* context, char* message) {
  return encode(encoder, ids, offsets, prompt_lengths, texts, {vectors, nullptr}, stop, context,
                message);
}

m3e_status m3e_encode_tokens(m3e_encoder* encoder, const int32_t* ids, const int64_t* offsets,
                             const int64_t* prompt_lengths, size_t texts, float* vectors,
                             float* states, m3e_stop stop, void* context, char* message) {
  if (!states && texts) {
    report(message, "states is NULL");
    return M3E_ERROR_ARGUMENT;
  }
  return encode(encoder, ids, offsets, prompt_lengths, texts, {vectors, states}, stop, context,
                message);
}

int32_t m3e_dimension(const m3e_encoder* encoder) { return encoder->engine.sizes().dimension; }
int32_t m3e_hidden_size(const m3e_encoder* encoder) { return encoder->engine.sizes().hidden; }
int32_t m3e_max_tokens(const m3e_encoder* encoder) { return encoder->engine.sizes().positions; }
int32_t m3e_vocabulary_size(const m3e_encoder* encoder) {
  return encoder->engine.sizes().vocabulary;
}
int32_t m3e_threads(const m3e_encoder* encoder) { return encoder->engine.threads(); }
const char* m3e_instruction_set(const m3e_encoder* encoder) {
  return encoder->engine.instruction_set();
}

void m3e_free(m3e_encoder* encoder) { delete encoder; }
