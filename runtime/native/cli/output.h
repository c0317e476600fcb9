// SPDX-License-Identifier: Apache-2.0
// Where a command writes: standard output, or a file that appears whole or not at all.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "file.h"

namespace m3e_cli {

class Output {
 public:
  // `path` is a file in UTF-8; empty means standard output. A file is written under a temporary
  // name beside it, which finish() renames. SIGINT and SIGTERM remove it.
  explicit Output(const std::string& path);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Each throws Failure, and write() ClosedPipe.
  void write(const void* data, size_t bytes);
  void write(const std::string& text) { write(text.data(), text.size()); }
  void overwrite_start(const std::string& text);  // of a file
  void flush();
  void finish();

 private:
  [[noreturn]] void fail() const;
  std::FILE* stream() const { return file_ ? file_.get() : stdout; }

  std::string path_, temporary_;
  m3e::OpenFile file_;
};

// Writes `text` to standard output.
void print(const std::string& text);

}  // namespace m3e_cli
