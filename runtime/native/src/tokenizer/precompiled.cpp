// SPDX-License-Identifier: Apache-2.0
#include "character_map.h"
#include "normalizers.h"

namespace m3e {
namespace {

constexpr size_t kLongestLookedUp = 5;  // bytes of a grapheme cluster that is looked up as a whole

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(const Json& described)
      : map_(CharacterMap::of_base64(described.at("precompiled_charsmap").string())) {
    for (int byte = 0; byte < 128; ++byte) {
      const char c = static_cast<char>(byte);
      stays_[byte] = byte != '\r' && !map_.find(std::string_view(&c, 1));
    }
  }

  void apply(std::string& text) const override {
    std::string out;
    out.reserve(text.size() + text.size() / 4);
    const char *at = text.data(), *const end = at + text.size();
    while (at < end) {
      const char* const from = at;
      while (at < end && stays(at, end)) ++at;
      out.append(from, at);
      if (at == end) break;
      const char* const next = unicode::grapheme_end(at, end);
      append_cluster(out, std::string_view(at, next - at));
      check_growth(text.size(), out.size());
      at = next;
    }
    text.swap(out);
  }

 private:
  // Whether an ASCII character is a cluster by itself that the map does not have.
  bool stays(const char* at, const char* end) const {
    const auto ascii = [](char byte) { return !(byte & 0x80); };
    return ascii(*at) && stays_[static_cast<int>(*at)] && (at + 1 == end || ascii(at[1]));
  }

  void append_cluster(std::string& out, std::string_view cluster) const {
    if (cluster.size() <= kLongestLookedUp) {
      if (const auto mapped = map_.find(cluster)) {
        out += *mapped;
        return;
      }
    }
    for (const char *at = cluster.data(), *end = at + cluster.size(); at < end;) {
      const char* const begin = at;
      unicode::next(at);
      const std::string_view character(begin, at - begin);
      out += map_.find(character).value_or(character);
    }
  }

  const CharacterMap map_;
  bool stays_[128];
};

}  // namespace

NormalizerPtr read_precompiled(const Json& described) {
  return std::make_unique<Precompiled>(described);
}

}  // namespace m3e
