// SPDX-License-Identifier: Apache-2.0
#include "lines.h"

#include <cerrno>
#include <cstring>

#include "error.h"
#include "failure.h"
#include "json.h"
#include "tokenizer/unicode.h"

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#define fileno _fileno
#else
#include <unistd.h>
#endif

namespace m3e_cli {
namespace {

constexpr size_t kBlock = 1 << 20;
constexpr size_t kLongestLine = 64u << 20;
constexpr size_t kMostLines = 1024;  // their vectors are in memory together

m3e::OpenFile open_input(const std::string& path) {
  try {
    return path == "-" ? nullptr : m3e::open_file(path, "rb");
  } catch (const m3e::Error& error) {
    throw Failure(error.what());
  }
}

long read_some(int descriptor, char* to, size_t bytes) {
#if defined(_WIN32)
  return _read(descriptor, to, static_cast<unsigned>(bytes));
#else
  return ::read(descriptor, to, bytes);
#endif
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

Lines::Lines(const std::string& path)
    : name_(path == "-" ? "standard input" : path),
      file_(open_input(path)),
      descriptor_(fileno(file_ ? file_.get() : stdin)) {
#if defined(_WIN32)
  _setmode(descriptor_, _O_BINARY);
#endif
}

size_t Lines::read() {
  const size_t before = pending_.size();
  pending_.resize(before + kBlock);
  long bytes;
  do {
    bytes = read_some(descriptor_, &pending_[before], kBlock);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) throw Failure(name_ + " cannot be read: " + std::strerror(errno));
  pending_.resize(before + static_cast<size_t>(bytes));
  return static_cast<size_t>(bytes);
}

bool Lines::next(std::vector<std::string>& lines) {
  lines.clear();
  first_number_ = read_lines_ + 1;
  for (split(lines); lines.empty() && !ended_; split(lines)) {
    ended_ = read() == 0;
    if (ended_ && !pending_.empty()) pending_ += '\n';  // the last line may have no end
    if (pending_.size() > kLongestLine + kBlock) {
      throw Failure(name_ + ": line " + std::to_string(read_lines_ + 1) + " is longer than " +
                    std::to_string(kLongestLine) + " bytes");
    }
  }
  return !lines.empty();
}

void Lines::split(std::vector<std::string>& lines) {
  size_t begin = 0;
  while (lines.size() < kMostLines) {
    const size_t end = pending_.find('\n', begin);
    if (end == std::string::npos) break;
    add(lines, begin, end);
    begin = end + 1;
  }
  pending_.erase(0, begin);
}

void Lines::add(std::vector<std::string>& lines, size_t begin, size_t end) {
  if (end > begin && pending_[end - 1] == '\r') --end;
  const bool has_mark = read_lines_ == 0 && pending_.compare(begin, 3, "\xEF\xBB\xBF") == 0;
  if (has_mark) begin += 3;
  lines.push_back(pending_.substr(begin, end - begin));
  ++read_lines_;
  if (!m3e::unicode::is_utf8(lines.back())) {
    throw Failure(name_ + ": line " + std::to_string(read_lines_) + " is not UTF-8");
  }
}

bool TextInput::next(std::vector<std::string>& texts) {
  if (field_.empty()) return lines_.next(texts);
  texts.clear();
  while (texts.empty() && lines_.next(block_)) {
    int64_t number = lines_.first_number();
    for (const std::string& line : block_) {
      std::string text;
      if (parse(line, number++, text)) texts.push_back(std::move(text));
    }
  }
  return !texts.empty();
}

// False for a blank line.
bool TextInput::parse(const std::string& line, int64_t number, std::string& text) const {
  if (line.find_first_not_of(" \t") == std::string::npos) return false;
  try {
    const m3e::Json object = m3e::Json::parse(line);
    const m3e::Json* found = object.find(field_);
    if (!found) m3e::refuse("no field '" + field_ + "'; name it with --field");
    text = found->string();
    return true;
  } catch (const m3e::Error& error) {
    throw Failure(lines_.name() + ": line " + std::to_string(number) + ": " + error.what());
  }
}

std::string input_path(const std::vector<std::string>& arguments, size_t at) {
  return at < arguments.size() ? arguments[at] : "-";
}

std::string field_of(const std::string& path, const std::string& given) {
  if (!given.empty()) return given;
  return ends_with(path, ".jsonl") || ends_with(path, ".ndjson") ? "text" : "";
}

}  // namespace m3e_cli
