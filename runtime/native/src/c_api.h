// SPDX-License-Identifier: Apache-2.0
// What the files of the C interface share: exceptions become codes, structures of other versions
// are read by their size.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>

#include "engine.h"
#include "error.h"
#include "m3e.h"
#include "thread_pool.h"
#include "tokenizer/tokenizer.h"

struct m3e_encoder {
  m3e::Engine engine;
};

struct m3e_tokenizer {
  m3e::Tokenizer tokenizer;
  int32_t threads;
  mutable m3e::ThreadPool pool{threads};
};

namespace m3e {

// The code of the exception that is being handled; writes its message.
m3e_status report_exception(char* message);

// No exception may cross into C.
template <class Body>
m3e_status guarded(char* message, Body body) {
  try {
    body();
    return M3E_OK;
  } catch (...) {
    return report_exception(message);
  }
}

void require(bool given, const char* what);

// Reads a structure whose first member is its size, as the caller knows it. Members that the caller
// does not know keep their defaults; `known` and what follows it must be zero if this library does
// not know it.
void read_sized(const void* given, void* structure, size_t known, size_t alignment,
                const char* name);

inline m3e_options read_options(const m3e_options* given) {
  m3e_options options = M3E_OPTIONS;
  read_sized(given, &options, sizeof options, alignof(m3e_options), "m3e_options");
  if (options.reserved) throw Error(ErrorKind::argument, "m3e_options.reserved is not 0");
  if (!options.threads) options.threads = 1;
  return options;
}

}  // namespace m3e
