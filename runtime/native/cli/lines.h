// SPDX-License-Identifier: Apache-2.0
// Lines of a file or of standard input, in blocks of bounded size.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "file.h"

namespace m3e_cli {

class Lines {
 public:
  // `path` is a file in UTF-8, or "-" for standard input.
  explicit Lines(const std::string& path);

  // Replaces `lines` by the next lines without their ends, as many as have been read, up to a
  // limit. False at the end of the input. A pipe's lines come as soon as they are written.
  bool next(std::vector<std::string>& lines);

  // Number of the first of the lines that next() gave, from 1 on.
  int64_t first_number() const { return first_number_; }
  const std::string& name() const { return name_; }

 private:
  size_t read();
  void split(std::vector<std::string>& lines);
  void add(std::vector<std::string>& lines, size_t begin, size_t end);

  std::string name_;
  m3e::OpenFile file_;
  int descriptor_ = 0;
  std::string pending_;  // what was read and not yet given
  int64_t read_lines_ = 0, first_number_ = 1;
  bool ended_ = false;
};

// Texts of a command's input: its lines, or a field of its JSON Lines.
class TextInput {
 public:
  TextInput(const std::string& path, const std::string& field) : lines_(path), field_(field) {}

  bool next(std::vector<std::string>& texts);

 private:
  bool parse(const std::string& line, int64_t number, std::string& text) const;

  Lines lines_;
  std::string field_;  // empty: each line is a text
  std::vector<std::string> block_;
};

// The input that `arguments` name at `at`: a file, or standard input if there is none.
std::string input_path(const std::vector<std::string>& arguments, size_t at);

// The field of JSON Lines: `given`, or "text" for a file whose name says that it is JSON Lines.
std::string field_of(const std::string& path, const std::string& given);

}  // namespace m3e_cli
