// SPDX-License-Identifier: Apache-2.0
#include "sha256_blocks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

namespace m3e {

#if defined(__x86_64__)

namespace {

// The instructions keep the state as the words (a, b, e, f) and (c, d, g, h), highest first.
__attribute__((target("sha,sse4.1,ssse3"))) void blocks_sha_ni(uint32_t state[8],
                                                               const uint8_t* data, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  auto* words = reinterpret_cast<__m128i*>(state);
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xB1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1B);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
  for (; blocks; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    const auto* input = reinterpret_cast<const __m128i*>(data);
    __m128i schedule[4];
    for (int i = 0; i < 4; ++i) {
      schedule[i] = _mm_shuffle_epi8(_mm_loadu_si128(input + i), swap);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {  // four rounds each
      const auto* constants = reinterpret_cast<const __m128i*>(kSha256Constants) + i;
      const __m128i now = schedule[i % 4];
      __m128i sum = _mm_add_epi32(now, _mm_loadu_si128(constants));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      sum = _mm_shuffle_epi32(sum, 0x0E);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, sum);
      if (i < 12) {
        const __m128i last = schedule[(i + 3) % 4];
        __m128i next = _mm_sha256msg1_epu32(now, schedule[(i + 1) % 4]);
        next = _mm_add_epi32(next, _mm_alignr_epi8(last, schedule[(i + 2) % 4], 4));
        schedule[i % 4] = _mm_sha256msg2_epu32(next, last);
      }
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
}

bool has_sha_ni() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  const bool ssse3 = (c >> 9) & 1, sse41 = (c >> 19) & 1;
  return ssse3 && sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && ((b >> 29) & 1);
}

}  // namespace

const char* const kSha256OfProcessor = "sha-ni";
Sha256Blocks sha256_blocks_of_processor() { return has_sha_ni() ? blocks_sha_ni : nullptr; }

#elif defined(__aarch64__) && (defined(__linux__) || defined(__ARM_FEATURE_SHA2))

namespace {

#if !defined(__ARM_FEATURE_SHA2) && defined(__clang__)
__attribute__((target("sha2")))
#elif !defined(__ARM_FEATURE_SHA2)
__attribute__((target("+crypto")))
#endif
void blocks_armv8(uint32_t state[8], const uint8_t* data, size_t blocks) {
  uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
  for (; blocks; --blocks, data += 64) {
    const uint32x4_t abcd_before = abcd, efgh_before = efgh;
    uint32x4_t schedule[4];
    for (int i = 0; i < 4; ++i) {
      schedule[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
    }
    for (int i = 0; i < 16; ++i) {  // four rounds each
      const uint32x4_t now = schedule[i % 4];
      const uint32x4_t sum = vaddq_u32(now, vld1q_u32(kSha256Constants + 4 * i));
      const uint32x4_t abcd_now = abcd;
      abcd = vsha256hq_u32(abcd, efgh, sum);
      efgh = vsha256h2q_u32(efgh, abcd_now, sum);
      if (i < 12) {
        const uint32x4_t next = vsha256su0q_u32(now, schedule[(i + 1) % 4]);
        schedule[i % 4] = vsha256su1q_u32(next, schedule[(i + 2) % 4], schedule[(i + 3) % 4]);
      }
    }
    abcd = vaddq_u32(abcd, abcd_before);
    efgh = vaddq_u32(efgh, efgh_before);
  }
  vst1q_u32(state, abcd);
  vst1q_u32(state + 4, efgh);
}

bool has_sha2() {
#if defined(__ARM_FEATURE_SHA2)
  return true;
#else
  return (getauxval(AT_HWCAP) & (1ul << 6)) != 0;  // HWCAP_SHA2
#endif
}

}  // namespace

const char* const kSha256OfProcessor = "armv8";
Sha256Blocks sha256_blocks_of_processor() { return has_sha2() ? blocks_armv8 : nullptr; }

#else

const char* const kSha256OfProcessor = "";
Sha256Blocks sha256_blocks_of_processor() { return nullptr; }

#endif

}  // namespace m3e
