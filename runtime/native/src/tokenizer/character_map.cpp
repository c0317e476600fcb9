// SPDX-License-Identifier: Apache-2.0
#include "character_map.h"

#include "base64.h"
#include "error.h"
#include "unicode.h"

namespace m3e {
namespace {

[[noreturn]] void refuse_map(const char* why) {
  refuse(std::string("normalizer Precompiled: its map is damaged: ") + why + ".");
}

uint32_t little_endian(const char* at) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<uint8_t>(at[i])) << 8 * i;
  return value;
}

// The parts of a unit of Darts.
bool has_value(uint32_t unit) { return unit >> 8 & 1; }
size_t offset_of(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 512) >> 6); }
bool has_label(uint32_t unit, uint8_t label) { return (unit & (1u << 31 | 0xFF)) == label; }

bool starts_character(char byte) { return (byte & 0xC0) != 0x80; }

}  // namespace

CharacterMap::CharacterMap(std::string_view blob) {
  if (blob.size() < 4) refuse_map("it is empty");
  const size_t count = little_endian(blob.data()) / 4;
  blob.remove_prefix(4);
  if (!count || count > blob.size() / 4) refuse_map("it is cut short");
  units_.reserve(count);
  for (size_t i = 0; i < count; ++i) units_.push_back(little_endian(blob.data() + 4 * i));
  texts_ = blob.substr(4 * count);
  if (!unicode::is_utf8(texts_)) refuse_map("its texts are not UTF-8");
}

uint32_t CharacterMap::unit(size_t position) const {
  if (position >= units_.size()) refuse_map("it points outside of itself");
  return units_[position];
}

std::optional<std::string_view> CharacterMap::find(std::string_view text) const {
  size_t position = offset_of(units_[0]);
  for (const char byte : text) {
    const auto label = static_cast<uint8_t>(byte);
    if (!label) break;
    position ^= label;
    const uint32_t reached = unit(position);
    if (!has_label(reached, label)) break;
    position ^= offset_of(reached);
    if (has_value(reached)) return value(unit(position) & ~(1u << 31));
  }
  return std::nullopt;
}

std::string_view CharacterMap::value(size_t begin) const {
  const bool inside =
      begin < texts_.size() ? starts_character(texts_[begin]) : begin == texts_.size();
  if (!inside) refuse_map("it points outside of itself");
  return texts_.c_str() + begin;  // up to NUL
}

CharacterMap CharacterMap::of_base64(std::string_view text) {
  const std::optional<std::string> blob = base64_decode(text);
  if (!blob) refuse_map("it is not base64");
  return CharacterMap(*blob);
}

}  // namespace m3e
