// The C interface for Python. It takes and fills arrays, and releases the interpreter's lock while
// it computes.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <atomic>
#include <string>

#include "m3e.h"

namespace nb = nanobind;

namespace {

using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Offsets = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vectors = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// The array itself: conversion would hide ids that do not fit, and would write the vectors to a
// copy.
template <class Array>
Array exact(nb::handle given, const char* what) {
  Array array;
  if (!nb::try_cast<Array>(given, array, false)) throw nb::type_error(what);
  return array;
}

// Any path that os.fspath accepts. File names are bytes, which need not be UTF-8.
std::string file_name(nb::handle path) {
  PyObject* bytes = nullptr;
  if (!PyUnicode_FSConverter(path.ptr(), &bytes)) throw nb::python_error();
  const nb::object owned = nb::steal(bytes);
  return std::string(PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes)));
}

// Lets another thread stop a call.
class Stop {
 public:
  void set() { set_ = true; }
  bool is_set() const { return set_; }

 private:
  std::atomic<bool> set_{false};
};

// Whether another thread has set `context`, or a signal handler has raised. Called in the calling
// thread without the interpreter's lock. Does not take the lock after `context` is set, because the
// interpreter may be shutting down.
int asked_to_stop(void* context) {
  if (context && static_cast<const Stop*>(context)->is_set()) return 1;
  const nb::gil_scoped_acquire acquire;
  return PyErr_CheckSignals();
}

PyObject* type_of(m3e_status status) {
  switch (status) {
    case M3E_ERROR_FILE:
      return PyExc_OSError;
    case M3E_ERROR_MEMORY:
      return PyExc_MemoryError;
    case M3E_ERROR_INTERNAL:
    case M3E_STOPPED:
      return PyExc_RuntimeError;
    default:
      return PyExc_ValueError;
  }
}

void check(m3e_status status, const char* message) {
  if (status == M3E_OK) return;
  if (!PyErr_Occurred()) {  // a signal handler may have raised
    const nb::object text =
        nb::steal(PyUnicode_DecodeFSDefault(message));  // it may hold a file name
    PyErr_SetObject(type_of(status), text.ptr());
  }
  throw nb::python_error();
}

class NativeEncoder {
 public:
  NativeEncoder(nb::handle file, int threads, const std::string& instruction_set) {
    const std::string path = file_name(file);
    m3e_options options = M3E_OPTIONS;
    options.threads = threads;
    options.instruction_set = instruction_set.empty() ? nullptr : instruction_set.c_str();
    char message[M3E_MESSAGE_SIZE] = "";
    m3e_status status;
    {
      const nb::gil_scoped_release release;
      status = m3e_load(path.c_str(), &options, &encoder_, message);
    }
    check(status, message);
  }
  ~NativeEncoder() { m3e_free(encoder_); }
  NativeEncoder(const NativeEncoder&) = delete;
  NativeEncoder& operator=(const NativeEncoder&) = delete;

  void encode(nb::handle given_ids, nb::handle given_offsets, nb::handle given_vectors,
              nb::handle given_prompts, Stop* stop, nb::handle given_states) const {
    const Ids ids = exact<Ids>(given_ids, "ids must be a contiguous int32 array [tokens]");
    const Offsets offsets =
        exact<Offsets>(given_offsets, "offsets must be a contiguous int64 array [texts + 1]");
    const Vectors vectors = exact<Vectors>(
        given_vectors, "vectors must be a contiguous, writable float32 array [texts, dimension]");
    Offsets prompt_lengths;
    if (!given_prompts.is_none()) {
      prompt_lengths =
          exact<Offsets>(given_prompts, "prompt_lengths must be a contiguous int64 array [texts]");
    }
    Vectors states;
    if (!given_states.is_none()) {
      states = exact<Vectors>(
          given_states, "states must be a contiguous, writable float32 array [tokens, hidden]");
    }
    const size_t texts = vectors.shape(0);
    if (offsets.shape(0) != texts + 1 ||
        vectors.shape(1) != static_cast<size_t>(m3e_dimension(encoder_))) {
      throw nb::value_error("vectors must be [texts, dimension] and offsets [texts + 1]");
    }
    if (offsets.data()[texts] != static_cast<int64_t>(ids.shape(0))) {
      throw nb::value_error("the last offset must be the number of token ids");
    }
    if (prompt_lengths.is_valid() && prompt_lengths.shape(0) != texts) {
      throw nb::value_error("prompt_lengths must be [texts]");
    }
    if (states.is_valid() && (states.shape(0) != ids.shape(0) ||
                              states.shape(1) != static_cast<size_t>(hidden_size()))) {
      throw nb::value_error("states must be [tokens, hidden]");
    }
    const int64_t* prompts = prompt_lengths.is_valid() ? prompt_lengths.data() : nullptr;
    char message[M3E_MESSAGE_SIZE] = "";
    m3e_status status;
    {
      const nb::gil_scoped_release release;
      status = states.is_valid()
                   ? m3e_encode_tokens(encoder_, ids.data(), offsets.data(), prompts, texts,
                                       vectors.data(), states.data(), asked_to_stop, stop, message)
                   : m3e_encode_stoppable(encoder_, ids.data(), offsets.data(), prompts, texts,
                                          vectors.data(), asked_to_stop, stop, message);
    }
    check(status, message);
  }

  int dimension() const { return m3e_dimension(encoder_); }
  int hidden_size() const { return m3e_hidden_size(encoder_); }
  int max_tokens() const { return m3e_max_tokens(encoder_); }
  int vocabulary_size() const { return m3e_vocabulary_size(encoder_); }
  int threads() const { return m3e_threads(encoder_); }
  std::string instruction_set() const { return m3e_instruction_set(encoder_); }

 private:
  m3e_encoder* encoder_ = nullptr;
};

}  // namespace

NB_MODULE(_native, module) {
  // Encoders in module globals live until the process ends, which is not a leak.
  nb::set_leak_warnings(false);
  module.doc() = "m3e-runtime's own CPU engine.";
  module.def(
      "instruction_sets", [] { return std::string(m3e_instruction_sets()); },
      "Names of the instruction sets that run here, fastest first, separated by spaces.");
  nb::class_<Stop>(module, "Stop").def(nb::init<>()).def("set", &Stop::set);
  nb::class_<NativeEncoder>(module, "NativeEncoder")
      .def(nb::init<nb::handle, int, const std::string&>(), nb::arg("path"),
           nb::arg("threads").noconvert() = 1, nb::arg("instruction_set") = "")
      .def("encode", &NativeEncoder::encode, nb::arg("ids"), nb::arg("offsets"), nb::arg("vectors"),
           nb::arg("prompt_lengths") = nb::none(), nb::arg("stop") = nb::none(),
           nb::arg("states") = nb::none())
      .def_prop_ro("dimension", &NativeEncoder::dimension)
      .def_prop_ro("hidden_size", &NativeEncoder::hidden_size)
      .def_prop_ro("max_tokens", &NativeEncoder::max_tokens)
      .def_prop_ro("vocabulary_size", &NativeEncoder::vocabulary_size)
      .def_prop_ro("threads", &NativeEncoder::threads)
      .def_prop_ro("instruction_set", &NativeEncoder::instruction_set);
}
