// The C interface for Python: arrays in, arrays out, without the interpreter's lock while computing.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "m3e.h"

namespace nb = nanobind;

namespace {

using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Offsets = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vectors = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void check(m3e_status status, const char* message) {
  switch (status) {
    case M3E_OK:
      return;
    case M3E_ERROR_FILE:
      PyErr_SetString(PyExc_OSError, message);
      break;
    case M3E_ERROR_MEMORY:
      PyErr_SetString(PyExc_MemoryError, message);
      break;
    case M3E_ERROR_INTERNAL:
      PyErr_SetString(PyExc_RuntimeError, message);
      break;
    default:
      PyErr_SetString(PyExc_ValueError, message);
  }
  throw nb::python_error();
}

class NativeEncoder {
 public:
  NativeEncoder(const std::string& path, int threads, const std::string& instruction_set) {
    const m3e_options options = {threads, instruction_set.empty() ? nullptr : instruction_set.c_str()};
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

  void encode(const Ids& ids, const Offsets& offsets, const Vectors& vectors,
              const std::optional<Offsets>& prompt_lengths) const {
    const size_t texts = vectors.shape(0);
    if (offsets.shape(0) != texts + 1 || vectors.shape(1) != static_cast<size_t>(m3e_dimension(encoder_))) {
      throw nb::value_error("vectors must be [texts, dimension] and offsets [texts + 1]");
    }
    if (offsets.data()[texts] != static_cast<int64_t>(ids.shape(0))) {
      throw nb::value_error("the last offset must be the number of token ids");
    }
    if (prompt_lengths && prompt_lengths->shape(0) != texts) {
      throw nb::value_error("prompt_lengths must be [texts]");
    }
    const int64_t* prompts = prompt_lengths ? prompt_lengths->data() : nullptr;
    char message[M3E_MESSAGE_SIZE] = "";
    m3e_status status;
    {
      const nb::gil_scoped_release release;
      status = m3e_encode_prompted(encoder_, ids.data(), offsets.data(), prompts, texts, vectors.data(), message);
    }
    check(status, message);
  }

  int dimension() const { return m3e_dimension(encoder_); }
  int max_tokens() const { return m3e_max_tokens(encoder_); }
  int vocabulary_size() const { return m3e_vocabulary_size(encoder_); }
  int threads() const { return m3e_threads(encoder_); }
  std::string instruction_set() const { return m3e_instruction_set(encoder_); }

 private:
  m3e_encoder* encoder_ = nullptr;
};

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "m3e-runtime's own CPU engine.";
  module.def("instruction_sets", [] { return std::string(m3e_instruction_sets()); },
             "Names of the instruction sets that run here, fastest first, separated by spaces.");
  nb::class_<NativeEncoder>(module, "NativeEncoder")
      .def(nb::init<const std::string&, int, const std::string&>(), nb::arg("path"), nb::arg("threads") = 1,
           nb::arg("instruction_set") = "")
      .def("encode", &NativeEncoder::encode, nb::arg("ids"), nb::arg("offsets"), nb::arg("vectors"),
           nb::arg("prompt_lengths") = nb::none())
      .def_prop_ro("dimension", &NativeEncoder::dimension)
      .def_prop_ro("max_tokens", &NativeEncoder::max_tokens)
      .def_prop_ro("vocabulary_size", &NativeEncoder::vocabulary_size)
      .def_prop_ro("threads", &NativeEncoder::threads)
      .def_prop_ro("instruction_set", &NativeEncoder::instruction_set);
}
