// SPDX-License-Identifier: Apache-2.0
#include "vector_files.h"

#include <cmath>
#include <cstring>

#include "error.h"
#include "failure.h"
#include "numbers.h"

namespace m3e_cli {
namespace {

const std::vector<Precision> kAll = {
    {"float32", M3E_FLOAT32, "<f4", 4}, {"float16", M3E_FLOAT16, "<f2", 2},
    {"int8", M3E_INT8, "|i1", 1},       {"uint8", M3E_UINT8, "|u1", 1},
    {"binary", M3E_BINARY, "|i1", 1},   {"ubinary", M3E_UBINARY, "|u1", 1}};

constexpr size_t kNpyHeader = 128;  // a multiple of 64, with room for every count of rows
constexpr size_t kRangesLimit = 16u << 20;

float float_of_half(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const float sign = half & 0x8000 ? -1.0f : 1.0f, digits = static_cast<float>(half & 0x3FF);
  if (exponent == 31) return sign * (digits ? NAN : INFINITY);
  if (exponent == 0) return sign * std::ldexp(digits, -24);
  return sign * std::ldexp(digits + 1024, exponent - 25);
}

// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
std::string npy_header(const Precision& precision, size_t rows, size_t columns) {
  std::string text = "{'descr': '" + std::string(precision.dtype) +
                     "', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                     std::to_string(columns) + "), }";
  text.resize(kNpyHeader - 11, ' ');
  const auto length = static_cast<char>(text.size() + 1);
  return std::string("\x93NUMPY\x01\x00", 8) + length + '\0' + text + '\n';
}

class RawWriter : public VectorWriter {
 public:
  RawWriter(size_t vector_bytes, Output& output) : bytes_(vector_bytes), output_(output) {}
  void write(const uint8_t* vectors, size_t count, const int64_t*) override {
    output_.write(vectors, count * bytes_);
  }

 protected:
  const size_t bytes_;
  Output& output_;
};

class NpyWriter : public RawWriter {
 public:
  NpyWriter(const Precision& precision, size_t vector_bytes, Output& output)
      : RawWriter(vector_bytes, output), precision_(precision) {
    output.write(header());
  }
  void write(const uint8_t* vectors, size_t count, const int64_t* cut) override {
    RawWriter::write(vectors, count, cut);
    rows_ += count;
  }
  void finish() override { output_.overwrite_start(header()); }

 private:
  std::string header() const { return npy_header(precision_, rows_, bytes_ / precision_.bytes); }

  const Precision& precision_;
  size_t rows_ = 0;
};

class JsonLinesWriter : public VectorWriter {
 public:
  JsonLinesWriter(const Precision& precision, size_t vector_bytes, Output& output)
      : precision_(precision), bytes_(vector_bytes), output_(output) {}

  void write(const uint8_t* vectors, size_t count, const int64_t* cut) override {
    for (size_t i = 0; i < count; ++i) {
      line_ = "{\"embedding\":[";
      for (size_t at = 0; at < bytes_; at += precision_.bytes) {
        if (at) line_ += ',';
        append(vectors + i * bytes_ + at);
      }
      line_ += cut ? "],\"cut\":" + std::to_string(cut[i]) + "}\n" : "]}\n";
      output_.write(line_);
    }
    output_.flush();
  }

 private:
  void append(const uint8_t* value) {
    if (precision_.output == M3E_FLOAT32) {
      float number;
      std::memcpy(&number, value, sizeof number);
      append_float(line_, number);
    } else if (precision_.output == M3E_FLOAT16) {
      uint16_t half;
      std::memcpy(&half, value, sizeof half);
      append_float(line_, float_of_half(half));
    } else {
      const bool is_signed = precision_.output == M3E_INT8 || precision_.output == M3E_BINARY;
      line_ += std::to_string(is_signed ? static_cast<int8_t>(*value) : *value);
    }
  }

  const Precision& precision_;
  const size_t bytes_;
  Output& output_;
  std::string line_;
};

// The values of an npy file that holds [2, dimension] float32, or nothing.
std::string npy_values(const std::string& content, int32_t dimension) {
  if (content.size() < 10 || content.compare(0, 7, "\x93NUMPY\x01") != 0) return "";
  const size_t length = static_cast<uint8_t>(content[8]) | static_cast<uint8_t>(content[9]) << 8;
  if (content.size() < 10 + length) return "";
  const std::string header = content.substr(10, length);
  const auto says = [&](const std::string& text) { return header.find(text) != std::string::npos; };
  const bool fits = says("'<f4'") && says("'fortran_order': False") &&
                    says("(2, " + std::to_string(dimension) + ")");
  return fits ? content.substr(10 + length) : "";
}

}  // namespace

const std::vector<std::string> kPrecisions = {"float32", "float16", "int8",
                                              "uint8",   "binary",  "ubinary"};

const Precision& precision_named(const std::string& name) {
  for (const Precision& each : kAll) {
    if (name == each.name) return each;
  }
  return kAll[0];
}

std::unique_ptr<VectorWriter> make_writer(const std::string& format, const Precision& precision,
                                          size_t vector_bytes, Output& output) {
  if (format == "npy") return std::make_unique<NpyWriter>(precision, vector_bytes, output);
  if (format == "raw") return std::make_unique<RawWriter>(vector_bytes, output);
  return std::make_unique<JsonLinesWriter>(precision, vector_bytes, output);
}

std::vector<float> read_ranges(const std::string& path, int32_t dimension) {
  std::string content;
  try {
    content = m3e::read_file(path, kRangesLimit);
  } catch (const m3e::Error& error) {
    throw Failure(error.what());
  }
  const bool is_npy = path.size() > 4 && path.compare(path.size() - 4, 4, ".npy") == 0;
  const std::string values = is_npy ? npy_values(content, dimension) : content;
  std::vector<float> ranges(2 * static_cast<size_t>(dimension));
  if (values.size() != ranges.size() * sizeof(float)) {
    throw Failure(path + ": not float32 [2, " + std::to_string(dimension) + "]");
  }
  std::memcpy(ranges.data(), values.data(), values.size());
  return ranges;
}

}  // namespace m3e_cli
