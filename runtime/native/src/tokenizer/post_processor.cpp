// SPDX-License-Identifier: Apache-2.0
#include "post_processor.h"

#include "error.h"

namespace m3e {
namespace {

using Kind = PairPiece::Kind;

int32_t read_number(const Json& json, const char* what) {
  const int64_t number = json.integer();
  if (number < 0 || number >= INT32_MAX) {
    refuse("post_processor has an impossible " + std::string(what));
  }
  return static_cast<int32_t>(number);
}

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorKind::unsupported, "the post-processor " + what + " is not implemented");
}

// ["[SEP]", 102]
int32_t read_token(const Json& described, const char* key) {
  const std::vector<Json>& token = described.at(key).array();
  if (token.size() != 2) refuse("post_processor has a token that is not a pair of name and id");
  (void)token[0].string();
  return read_number(token[1], "token id");
}

// {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}
std::vector<int32_t> read_special(const Json& tokens, const std::string& name) {
  const Json* found = tokens.find(name);
  if (!found) refuse("post_processor lacks the special token \"" + name + "\"");
  std::vector<int32_t> ids;
  for (const Json& id : found->at("ids").array()) ids.push_back(read_number(id, "token id"));
  return ids;
}

SpecialTokens read_single(const Json& described) {
  SpecialTokens special;
  int texts = 0;
  for (const Json& piece : described.at("single").array()) {
    if (const Json* token = piece.find("SpecialToken")) {
      std::vector<int32_t>& to = texts ? special.after : special.before;
      for (const int32_t id :
           read_special(described.at("special_tokens"), token->at("id").string())) {
        to.push_back(id);
      }
    } else if (piece.at("Sequence").at("id").string() == "A") {
      ++texts;
    } else {
      unsupported("TemplateProcessing with a second text in its template for one");
    }
  }
  if (texts != 1)
    unsupported("TemplateProcessing with other than one text in its template for one");
  return special;
}

PairPiece read_piece(const Json& piece, const Json& tokens) {
  if (const Json* token = piece.find("SpecialToken")) {
    return {Kind::special, read_number(token->at("type_id"), "type of a token"),
            read_special(tokens, token->at("id").string())};
  }
  const Json& text = piece.at("Sequence");
  const std::string& id = text.at("id").string();
  if (id != "A" && id != "B") refuse("post_processor has the unknown text \"" + id + "\"");
  return {id == "A" ? Kind::first : Kind::second,
          read_number(text.at("type_id"), "type of a text")};
}

PairTemplate read_pair_pieces(const Json& described) {
  PairTemplate pair;
  int firsts = 0, seconds = 0;
  for (const Json& piece : described.at("pair").array()) {
    pair.pieces.push_back(read_piece(piece, described.at("special_tokens")));
    firsts += pair.pieces.back().kind == Kind::first;
    seconds += pair.pieces.back().kind == Kind::second;
  }
  if (firsts != 1 || seconds != 1) {
    unsupported("TemplateProcessing whose template for pairs has not each text once");
  }
  return pair;
}

PairTemplate read_pair(const Json& described) {
  try {
    return read_pair_pieces(described);
  } catch (const Error& error) {
    return {{}, error.what()};
  }
}

PostProcessor bert(int32_t cls, int32_t sep) {
  return {{{cls}, {sep}},
          PairTemplate{{{Kind::special, 0, {cls}},
                        {Kind::first, 0},
                        {Kind::special, 0, {sep}},
                        {Kind::second, 1},
                        {Kind::special, 1, {sep}}},
                       ""}};
}

PostProcessor roberta(int32_t cls, int32_t sep) {
  return {{{cls}, {sep}},
          PairTemplate{{{Kind::special, 0, {cls}},
                        {Kind::first, 0},
                        {Kind::special, 0, {sep, sep}},
                        {Kind::second, 0},
                        {Kind::special, 0, {sep}}},
                       ""}};
}

PostProcessor read_sequence(const Json& described) {
  PostProcessor all;
  for (const Json& part : described.at("processors").array()) {
    PostProcessor read = read_post_processor(part);
    if (read.single.size() && all.single.size()) {
      unsupported("Sequence of two that add special tokens");
    }
    if (read.single.size()) all.single = std::move(read.single);
    if (!read.pair) continue;
    if (all.pair) {
      read.pair = PairTemplate{{},
                               "the post-processor Sequence of two that change pairs is not "
                               "implemented"};
    }
    all.pair = std::move(read.pair);
  }
  return all;
}

}  // namespace

PostProcessor read_post_processor(const Json& described) {
  const std::string& type = described.at("type").string();
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const int32_t cls = read_token(described, "cls"), sep = read_token(described, "sep");
    return type == "BertProcessing" ? bert(cls, sep) : roberta(cls, sep);
  }
  if (type == "TemplateProcessing") return {read_single(described), read_pair(described)};
  if (type == "Sequence") return read_sequence(described);
  if (type == "ByteLevel") return {};  // it changes offsets only
  unsupported(type);
}

}  // namespace m3e
