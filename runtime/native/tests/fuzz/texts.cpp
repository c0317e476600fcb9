// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "input.h"
#include "tokenizer/unicode.h"

namespace m3e::fuzz {
namespace {

constexpr size_t kLongText = 100'000;

struct Codes {
  char32_t first, last;
};

// Where a script begins and ends, where UTF-8 gets longer, and what rules of Unicode treat apart.
const Codes kCodes[] = {
    {0x20, 0x7E},        {0x00, 0x20},       {0x7F, 0xA0},       {0xA1, 0x24F},
    {0x300, 0x36F},      {0x370, 0x52F},     {0x590, 0x6FF},     {0x7FE, 0x801},
    {0x900, 0x97F},      {0xE00, 0xE5F},     {0x1100, 0x11FF},   {0x1E00, 0x1EFF},
    {0x2000, 0x206F},    {0x2581, 0x2581},   {0x3000, 0x30FF},   {0x4E00, 0x9FFF},
    {0xAC00, 0xD7A3},    {0xF900, 0xFAFF},   {0xFB50, 0xFDFF},   {0xFE00, 0xFFFF},
    {0x1F1E6, 0x1F1FF},  {0x1F300, 0x1FAFF}, {0x20000, 0x2A6DF}, {0xE0000, 0xE01EF},
    {0x10FF00, 0x10FFFF}};

const char* const kWords[] = {"[CLS]",
                              "[SEP]",
                              "[UNK]",
                              "<s>",
                              "</s>",
                              "<mask>",
                              " ",
                              "  ",
                              "don't",
                              "I'LL",
                              "##a",
                              "\xE2\x96\x81",
                              "\xC4\xA0",
                              "\r\n",
                              "\xC4\xB0",
                              "\xE1\xBA\x9E",
                              "\xEF\xAC\x81",
                              "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9"};

void append_characters(std::string& text, Chance& chance) {
  const Codes& codes = kCodes[chance.below(sizeof(kCodes) / sizeof(kCodes[0]))];
  for (size_t i = chance.between(1, 12); i > 0; --i) {
    unicode::append(text, static_cast<char32_t>(chance.between(codes.first, codes.last)));
  }
}

void append_bytes(std::string& text, Chance& chance) {
  for (size_t i = chance.between(1, 4); i > 0; --i) {
    text += static_cast<char>(chance.between(0x80, 0xFF));
  }
}

void append_part(std::string& text, std::string_view file, Chance& chance) {
  const size_t begin = chance.below(file.size());
  const std::string_view part = file.substr(begin, chance.between(1, 24));
  if (unicode::is_utf8(part)) text += part;
}

void repeat(std::string& text, Chance& chance) {
  const std::string once = text;
  const size_t length = chance.between(1, chance.one_in(4) ? kLongText : kLongText / 50);
  while (text.size() < length) text += once;
}

}  // namespace

std::string make_text(std::string_view file, Chance& chance) {
  std::string text;
  for (size_t i = chance.below(10); i > 0; --i) {
    const size_t kind = chance.below(16);
    if (kind < 7) {
      append_characters(text, chance);
    } else if (kind < 11) {
      append_part(text, file, chance);
    } else if (kind < 15) {
      text += kWords[chance.below(sizeof(kWords) / sizeof(kWords[0]))];
    } else if (chance.one_in(4)) {
      append_bytes(text, chance);
    }
  }
  if (!text.empty() && chance.one_in(20)) repeat(text, chance);
  return text;
}

}  // namespace m3e::fuzz
