// SPDX-License-Identifier: Apache-2.0
#include "byte_level.h"

#include <array>
#include <cstdint>

#include "regex_pattern.h"
#include "unicode.h"

namespace m3e {
namespace {

// One or two bytes of UTF-8.
struct Encoded {
  uint8_t bytes[2];
  uint8_t length;
};

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The other bytes are U+0100 and the following characters, in their order.
constexpr std::array<Encoded, 256> byte_characters() {
  std::array<Encoded, 256> all{};
  unsigned next_free = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned code = stands_for_itself(byte) ? byte : next_free++;
    if (code < 0x80) {
      all[byte] = {{static_cast<uint8_t>(code), 0}, 1};
    } else {
      all[byte] = {
          {static_cast<uint8_t>(0xC0 | (code >> 6)), static_cast<uint8_t>(0x80 | (code & 0x3F))},
          2};
    }
  }
  return all;
}

constexpr std::array<Encoded, 256> kByteCharacters = byte_characters();

void append_piece(const char* at, const char* end, bool starts_text, Pieces& to) {
  const size_t begin = to.text.size();
  for (; at < end; ++at) {
    const Encoded& encoded = kByteCharacters[static_cast<uint8_t>(*at)];
    to.text.append(reinterpret_cast<const char*>(encoded.bytes), encoded.length);
  }
  to.pieces.push_back({begin, to.text.size(), starts_text});
}

}  // namespace

ByteLevel::ByteLevel(const Json& described)
    : add_prefix_space_(described.at("add_prefix_space").boolean()),
      use_regex_(described.flag("use_regex", true)) {
  (void)described.at("trim_offsets").boolean();
}

void ByteLevel::append(std::string_view text, bool starts_text, Pieces& to) const {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (!use_regex_) return append_piece(begin, end, starts_text, to);
  for (const char* at = begin; at < end;) {
    const char* behind = match_gpt2(at, end);
    append_piece(at, behind, starts_text && at == begin, to);
    at = behind;
  }
}

void ByteLevel::apply(Pieces& pieces) const {
  Pieces made;
  made.text.reserve(pieces.text.size() + pieces.text.size() / 4 + 16);
  made.pieces.reserve(pieces.text.size() / 4 + 4);
  std::string spaced;
  for (const Pieces::Piece& piece : pieces.pieces) {
    std::string_view text = pieces.view(piece);
    if (add_prefix_space_ && text.front() != ' ') {
      spaced.assign(1, ' ').append(text);
      text = spaced;
    }
    append(text, piece.starts_text, made);
  }
  pieces = std::move(made);
}

}  // namespace m3e
