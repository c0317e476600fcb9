// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace m3e {

enum class ErrorKind { argument, file, format, stopped, unsupported, integrity };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind(kind) {}
  const ErrorKind kind;
};

[[noreturn]] inline void refuse(const std::string& message) {
  throw Error(ErrorKind::format, message);
}

}  // namespace m3e
