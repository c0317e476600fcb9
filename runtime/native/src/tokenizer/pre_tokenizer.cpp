// SPDX-License-Identifier: Apache-2.0
#include "pre_tokenizer.h"

#include <functional>

#include "byte_level.h"
#include "character_splits.h"
#include "error.h"
#include "metaspace.h"
#include "pattern_split.h"

namespace m3e {
namespace {

using Parts = std::vector<std::unique_ptr<PreTokenizer>>;

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(Parts parts) : parts_(std::move(parts)) {}

  void apply(Pieces& pieces) const override {
    for (const auto& part : parts_) part->apply(pieces);
  }

 private:
  Parts parts_;
};

std::unique_ptr<PreTokenizer> read_sequence(const Json& described) {
  Parts parts;
  for (const Json& part : described.at("pretokenizers").array()) {
    parts.push_back(read_pre_tokenizer(part));
  }
  return std::make_unique<Sequence>(std::move(parts));
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& described) {
  const std::string& type = described.at("type").string();
  if (type == "BertPreTokenizer") return std::make_unique<BertSplit>();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(described);
  if (type == "CharDelimiterSplit") return std::make_unique<DelimiterSplit>(described);
  if (type == "Digits") return std::make_unique<DigitSplit>(described);
  if (type == "Metaspace") return std::make_unique<Metaspace>(described);
  if (type == "Punctuation") return std::make_unique<PunctuationSplit>(described);
  if (type == "Sequence") return read_sequence(described);
  if (type == "Split") return std::make_unique<PatternSplit>(described);
  if (type == "Whitespace") return std::make_unique<WordSplit>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  throw Error(ErrorKind::unsupported, "the pre-tokenizer " + type + " is not implemented");
}

}  // namespace m3e
