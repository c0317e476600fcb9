// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace m3e {

enum class ErrorKind { argument, file, format, stopped, unsupported, integrity };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message)
      : std::runtime_error(printable(message)), kind(kind) {}
  const ErrorKind kind;

 private:
  // A message may quote a file. A control character in it could end the message early, or change
  // the screen that shows it.
  static std::string printable(std::string text) {
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
    return text;
  }
};

[[noreturn]] inline void refuse(const std::string& message) {
  throw Error(ErrorKind::format, message);
}

}  // namespace m3e
