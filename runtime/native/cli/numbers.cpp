// SPDX-License-Identifier: Apache-2.0
#include "numbers.h"

#include <cmath>
#include <cstdint>
#include <cstdio>

namespace m3e_cli {
namespace {

constexpr double kPowers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
constexpr int kMostDigits = 9;  // enough for every float
constexpr int kFewestDigits = 6;
constexpr int kMostDecimals = 15;  // powers up to this and their quotients are exact enough

// Decimals that give `magnitude`, below 10^9 and not tiny, `digits` significant digits.
int decimals_for(double magnitude, int digits) {
  int decimals = digits - 1;
  for (double limit = 10; magnitude >= limit && decimals > 0; limit *= 10) --decimals;
  for (double limit = 1; magnitude < limit && decimals < kMostDecimals; limit /= 10) ++decimals;
  return decimals;
}

// Appends number / 10^decimals without zeros at the end.
void append_fixed(std::string& to, int64_t number, int decimals) {
  while (decimals > 0 && number % 10 == 0) number /= 10, --decimals;
  std::string digits = std::to_string(number);
  if (decimals) {
    if (digits.size() <= static_cast<size_t>(decimals)) {
      digits.insert(0, static_cast<size_t>(decimals) + 1 - digits.size(), '0');
    }
    digits.insert(digits.size() - static_cast<size_t>(decimals), 1, '.');
  }
  to += digits;
}

}  // namespace

void append_float(std::string& to, float value) {
  const double magnitude = std::fabs(static_cast<double>(value));
  if (!std::isfinite(value)) {
    to += "null";
  } else if (magnitude == 0) {
    to += std::signbit(value) ? "-0.0" : "0.0";
  } else if (magnitude < 1e-5 || magnitude >= 1e6) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
    to += text;
  } else {
    if (value < 0) to += '-';
    for (int digits = kFewestDigits;; ++digits) {
      const int decimals = decimals_for(magnitude, digits);
      const int64_t number = std::llround(magnitude * kPowers[decimals]);
      const double again = static_cast<double>(number) / kPowers[decimals];
      if (digits == kMostDigits || static_cast<float>(again) == static_cast<float>(magnitude)) {
        return append_fixed(to, number, decimals);
      }
    }
  }
}

}  // namespace m3e_cli
