// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "error.h"
#include "tokenizer/byte_tokens.h"
#include "tokenizer/models.h"
#include "tokenizer/piece_trie.h"
#include "tokenizer/short_vector.h"

namespace m3e {
namespace {

constexpr double kUnknownPenalty = 10.0;
constexpr uint32_t kNowhere = 0xFFFFFFFF;

size_t first_character_size(std::string_view text) {
  const auto byte = static_cast<uint8_t>(text[0]);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

class Unigram : public TokenModel {
 public:
  explicit Unigram(ModelJson& json)
      : pieces_(take_pieces(json.vocabulary)),
        scores_(std::move(json.vocabulary.scores)),
        trie_(pieces_),
        unknown_(read_unknown(json, pieces_.size())),
        has_bytes_(json.flag("byte_fallback")),
        bytes_([&](std::string_view token) { return id_of(token); }) {
    double least = std::numeric_limits<double>::infinity();
    for (const double score : scores_) least = std::min(least, score);
    unknown_score_ = least - kUnknownPenalty;
  }

  void tokenize(std::string_view piece, size_t most, std::vector<int32_t>& ids) const override {
    if (piece.size() >= kNowhere) throw Error(ErrorKind::argument, "a piece of 4 GiB");
    Path path;
    find_best_path(piece, path);
    append(piece, path, most, ids);
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const uint32_t index = trie_.find(token);
    if (index == PieceTrie::kNone) return std::nullopt;
    return static_cast<int32_t>(index);
  }
  size_t size() const override { return pieces_.size(); }
  int32_t largest_id() const override { return static_cast<int32_t>(pieces_.size()) - 1; }

 private:
  struct Node {      // by the place where a token ends
    double score;    // of the best path up to there
    uint32_t begin;  // where the last token of that path begins; later on, where the next one ends
    int32_t id;      // of the last token
  };
  using Path = ShortVector<Node, 128>;

  static PieceTable take_pieces(Vocabulary& vocabulary) {
    if (vocabulary.kind != Vocabulary::Kind::scores) {
      refuse("the model has no vocabulary of scores");
    }
    return std::move(vocabulary.pieces);
  }

  static int32_t read_unknown(const ModelJson& json, size_t size) {
    const std::optional<uint64_t> id = json.optional_natural("unk_id");
    if (id && *id >= size) refuse("the model's \"unk_id\" is not in its vocabulary");
    return id ? static_cast<int32_t>(*id) : -1;
  }

  // Viterbi's algorithm. Of paths with equal scores the one found first stays, which is the one
  // whose last token is longest.
  void find_best_path(std::string_view piece, Path& path) const {
    path.assign(piece.size() + 1, {0, kNowhere, 0});
    for (size_t begin = 0; begin < piece.size();) {
      const std::string_view rest = piece.substr(begin);
      const double score = path[begin].score;
      const auto offer = [&](size_t length, double token_score, int32_t id) {
        Node& node = path[begin + length];
        const double total = token_score + score;
        if (node.begin != kNowhere && !(total > node.score)) return false;
        node = {total, static_cast<uint32_t>(begin), id};
        return true;
      };
      const size_t character = first_character_size(rest);
      bool is_known = false;
      trie_.each_prefix(rest, [&](uint32_t index, size_t length) {
        offer(length, scores_[index], static_cast<int32_t>(index));
        is_known |= length == character;
      });
      if (!is_known && offer(character, unknown_score_, unknown_) && unknown_ < 0) {
        refuse(
            "the text has characters that the vocabulary lacks, and the model has no \"unk_id\"");
      }
      begin += character;
    }
  }

  // Turns the links of the best path around: `begin` of a node becomes the end of the next token.
  static void turn_around(size_t size, Path& path) {
    auto end = static_cast<uint32_t>(size);
    uint32_t begin = path[end].begin;
    while (end > 0) {
      const uint32_t before = path[begin].begin;
      path[begin].begin = end;
      end = begin;
      begin = before;
    }
  }

  void append(std::string_view piece, Path& path, size_t most, std::vector<int32_t>& ids) const {
    turn_around(piece.size(), path);
    for (size_t at = 0; at < piece.size() && ids.size() < most;) {
      size_t end = path[at].begin;
      const int32_t id = path[end].id;
      if (id == unknown_) {
        while (end < piece.size() && path[path[end].begin].id == unknown_) end = path[end].begin;
        append_unknown(piece.substr(at, end - at), ids);
      } else {
        ids.push_back(id);
      }
      at = end;
    }
  }

  // `text` is all that is unknown side by side. It may be a token nonetheless.
  void append_unknown(std::string_view text, std::vector<int32_t>& ids) const {
    const std::optional<int32_t> id = id_of(text);
    if (id || !has_bytes_ || !bytes_.has_all(text)) {
      ids.push_back(id ? *id : unknown_);
      return;
    }
    for (const char byte : text) ids.push_back(bytes_[byte]);
  }

  PieceTable pieces_;
  std::vector<double> scores_;
  PieceTrie trie_;
  int32_t unknown_;  // -1: none
  bool has_bytes_;
  ByteTokens bytes_;
  double unknown_score_;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(ModelJson& json) {
  return std::make_unique<Unigram>(json);
}

}  // namespace m3e
