// SPDX-License-Identifier: Apache-2.0
#include "json_reader.h"

#include "error.h"

namespace m3e {
namespace {

void append_utf8(std::string& to, uint32_t code) {
  const auto put = [&](uint32_t byte) { to.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

}  // namespace

void JsonReader::skip_spaces() {
  while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
}

bool JsonReader::accept(char wanted) {
  skip_spaces();
  if (at_ == end_ || *at_ != wanted) return false;
  ++at_;
  return true;
}

void JsonReader::expect(char wanted) {
  if (!accept(wanted)) {
    refuse(std::string("the header is not valid JSON: '") + wanted + "' expected");
  }
}

char JsonReader::next() {
  if (at_ == end_) refuse("the header is not valid JSON: it ends within a string");
  return *at_++;
}

std::string JsonReader::string() {
  expect('"');
  std::string out;
  for (char c = next(); c != '"'; c = next()) {
    if (static_cast<unsigned char>(c) < 0x20) {
      refuse("the header is not valid JSON: control character");
    }
    if (c == '\\') {
      escape(out);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

uint32_t JsonReader::hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = next();
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) refuse("the header is not valid JSON: bad \\u escape");
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  return value;
}

void JsonReader::escape(std::string& to) {
  static const std::string from = "\"\\/bfnrt", into = "\"\\/\b\f\n\r\t";
  const char c = next();
  if (const size_t at = from.find(c); at != std::string::npos) {
    to.push_back(into[at]);
    return;
  }
  if (c != 'u') refuse("the header is not valid JSON: unknown escape");
  uint32_t code = hex4();
  if (code >= 0xD800 && code < 0xDC00) {
    if (next() != '\\' || next() != 'u') {
      refuse("the header is not valid JSON: half of a surrogate pair");
    }
    const uint32_t low = hex4();
    if (low < 0xDC00 || low > 0xDFFF) {
      refuse("the header is not valid JSON: half of a surrogate pair");
    }
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  append_utf8(to, code);
}

int64_t JsonReader::integer() {
  skip_spaces();
  constexpr int64_t kLimit = int64_t{1}
                             << 53;  // the largest that every JSON reader represents exactly
  int64_t value = 0;
  int digits = 0;
  for (; at_ < end_ && *at_ >= '0' && *at_ <= '9'; ++at_, ++digits) {
    value = value * 10 + (*at_ - '0');
    if (value > kLimit) refuse("the header has an impossible number");
  }
  if (!digits) refuse("the header is not valid JSON: a whole number expected");
  return value;
}

void JsonReader::end() {
  skip_spaces();
  if (at_ != end_) refuse("the header is not valid JSON: something follows its end");
}

}  // namespace m3e
