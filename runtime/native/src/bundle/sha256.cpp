// SPDX-License-Identifier: Apache-2.0
#include "sha256.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "error.h"
#include "file.h"
#include "sha256_blocks.h"

namespace m3e {

const uint32_t kSha256Constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

namespace {

constexpr size_t kBlock = 64;
constexpr size_t kRead = 1 << 18;  // small enough to stay in the cache between reading and hashing

uint32_t rotate(uint32_t value, int by) { return (value >> by) | (value << (32 - by)); }

uint32_t big_endian(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

void expand(const uint8_t* data, uint32_t schedule[64]) {
  for (int i = 0; i < 16; ++i) schedule[i] = big_endian(data + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = schedule[i - 15], b = schedule[i - 2];
    schedule[i] = schedule[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >> 3)) + schedule[i - 7] +
                  (rotate(b, 17) ^ rotate(b, 19) ^ (b >> 10));
  }
}

Sha256Blocks chosen() {
  static const Sha256Blocks found =
      sha256_blocks_of_processor() ? sha256_blocks_of_processor() : sha256_blocks_portable;
  return found;
}

}  // namespace

void sha256_blocks_portable(uint32_t state[8], const uint8_t* data, size_t blocks) {
  for (; blocks; --blocks, data += kBlock) {
    uint32_t schedule[64];
    expand(data, schedule);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; ++i) {
      const uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
      const uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice +
                           kSha256Constants[i] + schedule[i];
      const uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority;
      h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

const char* Sha256::implementation() {
  return chosen() == sha256_blocks_portable ? "portable" : kSha256OfProcessor;
}

void Sha256::update(const uint8_t* data, size_t bytes) {
  bytes_ += bytes;
  if (held_) {
    const size_t taken = std::min(bytes, kBlock - held_);
    std::memcpy(block_ + held_, data, taken);
    held_ += taken, data += taken, bytes -= taken;
    if (held_ < kBlock) return;
    chosen()(state_, block_, 1);
    held_ = 0;
  }
  chosen()(state_, data, bytes / kBlock);
  held_ = bytes % kBlock;
  if (held_) std::memcpy(block_, data + bytes - held_, held_);
}

std::string Sha256::hex() {
  const uint64_t bits = bytes_ * 8;
  uint8_t padding[2 * kBlock] = {0x80};
  const size_t length = (held_ < kBlock - 8 ? kBlock : 2 * kBlock) - held_;
  for (size_t i = 0; i < 8; ++i) padding[length - 1 - i] = static_cast<uint8_t>(bits >> (8 * i));
  update(padding, length);
  std::string text;
  for (const uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[(word >> shift) & 15];
  }
  return text;
}

std::string sha256_of_file(const std::string& path) {
  Sha256 sum;
  std::vector<uint8_t> block(kRead);
  const OpenFile file = open_file(path, "rb");
  while (const size_t bytes = std::fread(block.data(), 1, block.size(), file.get())) {
    sum.update(block.data(), bytes);
  }
  if (std::ferror(file.get())) throw Error(ErrorKind::file, path + " cannot be read");
  return sum.hex();
}

}  // namespace m3e
