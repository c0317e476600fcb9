// SPDX-License-Identifier: Apache-2.0
#include "post_processor.h"

#include "error.h"

namespace m3e {
namespace {

int32_t read_id(const Json& json) {
  const int64_t id = json.integer();
  if (id < 0 || id >= INT32_MAX) refuse("post_processor has an impossible token id");
  return static_cast<int32_t>(id);
}

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorKind::unsupported, "the post-processor " + what + " is not implemented");
}

// ["[SEP]", 102]
int32_t read_pair(const Json& described, const char* key) {
  const std::vector<Json>& pair = described.at(key).array();
  if (pair.size() != 2) refuse("post_processor has a token that is not a pair of name and id");
  (void)pair[0].string();
  return read_id(pair[1]);
}

// {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}
void append_special(const Json& tokens, const std::string& name, std::vector<int32_t>& to) {
  const Json* found = tokens.find(name);
  if (!found) refuse("post_processor lacks the special token \"" + name + "\"");
  for (const Json& id : found->at("ids").array()) to.push_back(read_id(id));
}

SpecialTokens read_template(const Json& described) {
  SpecialTokens special;
  const Json& tokens = described.at("special_tokens");
  int texts = 0;
  for (const Json& piece : described.at("single").array()) {
    if (const Json* token = piece.find("SpecialToken")) {
      append_special(tokens, token->at("id").string(), texts ? special.after : special.before);
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

SpecialTokens read_sequence(const Json& described) {
  SpecialTokens special;
  for (const Json& part : described.at("processors").array()) {
    SpecialTokens read = read_post_processor(part);
    if (read.size() == 0) continue;
    if (special.size()) unsupported("Sequence of two that add special tokens");
    special = std::move(read);
  }
  return special;
}

}  // namespace

SpecialTokens read_post_processor(const Json& described) {
  const std::string& type = described.at("type").string();
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return {{read_pair(described, "cls")}, {read_pair(described, "sep")}};
  }
  if (type == "TemplateProcessing") return read_template(described);
  if (type == "Sequence") return read_sequence(described);
  if (type == "ByteLevel") return {};  // it changes offsets only
  unsupported(type);
}

}  // namespace m3e
