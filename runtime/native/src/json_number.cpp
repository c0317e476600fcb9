// SPDX-License-Identifier: Apache-2.0
// Numbers of JSON as the crate serde_json reads them: a whole number of 64 bits, times or divided
// by a power of ten. That is not always the double next to what is written, but scores of a
// vocabulary must tie where they tie in the crate `tokenizers`.
#include <cmath>
#include <limits>

#include "json_text.h"

namespace m3e {
namespace {

#define M3E_TENS(n) \
  1e##n##0, 1e##n##1, 1e##n##2, 1e##n##3, 1e##n##4, 1e##n##5, 1e##n##6, 1e##n##7, 1e##n##8, 1e##n##9
constexpr double kPowersOfTen[] = {
    M3E_TENS(),   M3E_TENS(1),  M3E_TENS(2),  M3E_TENS(3),  M3E_TENS(4),  M3E_TENS(5),
    M3E_TENS(6),  M3E_TENS(7),  M3E_TENS(8),  M3E_TENS(9),  M3E_TENS(10), M3E_TENS(11),
    M3E_TENS(12), M3E_TENS(13), M3E_TENS(14), M3E_TENS(15), M3E_TENS(16), M3E_TENS(17),
    M3E_TENS(18), M3E_TENS(19), M3E_TENS(20), M3E_TENS(21), M3E_TENS(22), M3E_TENS(23),
    M3E_TENS(24), M3E_TENS(25), M3E_TENS(26), M3E_TENS(27), M3E_TENS(28), M3E_TENS(29),
    1e300,        1e301,        1e302,        1e303,        1e304,        1e305,
    1e306,        1e307,        1e308};
#undef M3E_TENS
constexpr int64_t kLargestPower = 308;
constexpr int64_t kLargestExponent = std::numeric_limits<int32_t>::max();

bool scale(uint64_t significand, int64_t exponent, double& value) {
  value = static_cast<double>(significand);
  for (; exponent < -kLargestPower; exponent += kLargestPower) {
    if (value == 0) return true;
    value /= 1e308;
  }
  if (exponent > kLargestPower) return value == 0;
  value = exponent < 0 ? value / kPowersOfTen[-exponent] : value * kPowersOfTen[exponent];
  return !std::isinf(value);
}

class NumberReader {
 public:
  NumberReader(const char* at, const char* end) : at_(at), end_(end) {}

  bool read(JsonNumber& number) {
    const bool negative = accept('-');
    if (!is_digit() || !read_whole()) return false;
    const bool has_fraction = accept('.');
    if (has_fraction && !read_fraction()) return false;
    const bool has_exponent = accept('e') || accept('E');
    int64_t power = 0;
    if (has_exponent && !read_exponent(power)) return false;
    number.natural = !negative && !has_fraction && !has_exponent && exponent_ == 0;
    number.whole = significand_;
    // Beyond 32 bits the crate looks at the significand and the sign alone.
    const bool huge = power > kLargestExponent || power < -kLargestExponent;
    if (huge && power > 0 && significand_) return false;
    if (huge) {
      number.value = 0;
    } else if (!scale(significand_, exponent_ + power, number.value)) {
      return false;
    }
    if (negative) number.value = -number.value;
    return true;
  }

  const char* at() const { return at_; }

 private:
  bool is_digit() const { return at_ < end_ && *at_ >= '0' && *at_ <= '9'; }

  bool accept(char wanted) {
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  // Appends digits to the significand, up to one that would overflow, and returns how many.
  int64_t append_digits() {
    constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
    const char* at = at_;
    uint64_t value = significand_;
    for (; at < end_ && *at >= '0' && *at <= '9'; ++at) {
      const auto digit = static_cast<uint64_t>(*at - '0');
      if (value >= kMost / 10 && (value > kMost / 10 || digit > kMost % 10)) break;
      value = value * 10 + digit;
    }
    const int64_t count = at - at_;
    at_ = at;
    significand_ = value;
    return count;
  }

  bool read_whole() {
    if (accept('0')) return !is_digit();
    append_digits();
    for (; is_digit(); ++at_) ++exponent_;
    return true;
  }

  // Digits that do not fit are dropped.
  bool read_fraction() {
    if (!is_digit()) return false;
    exponent_ -= append_digits();
    while (is_digit()) ++at_;
    return true;
  }

  bool read_exponent(int64_t& power) {
    const bool negative = accept('-');
    if (!negative) accept('+');
    if (!is_digit()) return false;
    for (; is_digit(); ++at_) {
      if (power <= kLargestExponent) power = power * 10 + (*at_ - '0');
    }
    if (negative) power = -power;
    return true;
  }

  const char* at_;
  const char* end_;
  uint64_t significand_ = 0;
  int64_t exponent_ = 0;
};

}  // namespace

bool read_json_number(const char*& at, const char* end, JsonNumber& number) {
  NumberReader reader(at, end);
  const bool found = reader.read(number);
  at = reader.at();
  return found;
}

}  // namespace m3e
