// SPDX-License-Identifier: Apache-2.0
// How a command ends early: with a message and an exit code.
#pragma once

#include <stdexcept>
#include <string>

namespace m3e_cli {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message, int code = kFailed)
      : std::runtime_error(message), code(code) {}
  const int code;
};

// Nobody reads standard output any more, which is not an error.
class ClosedPipe {};

}  // namespace m3e_cli
