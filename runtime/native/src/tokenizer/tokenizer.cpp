// Stands in for the real tokenizer until it is merged: whole words of a WordPiece vocabulary.
#include "tokenizer.h"

#include <map>

#include "error.h"
#include "json.h"
#include "tokenizer/unicode.h"

namespace m3e {

struct Tokenizer::Parts {
  std::map<std::string, int32_t> ids;
};

Tokenizer::Tokenizer(std::string_view json) : parts_(std::make_unique<Parts>()) {
  const Json file = Json::parse(json);
  for (const auto& [word, id] : file.at("model").at("vocab").object()) {
    parts_->ids[word] = static_cast<int32_t>(id.integer());
  }
}
Tokenizer::~Tokenizer() = default;

int64_t Tokenizer::encode(std::string_view text, int64_t most, bool, std::vector<int32_t>& ids) const {
  if (!unicode::is_utf8(text)) throw Error(ErrorKind::argument, "it is not UTF-8");
  const auto id = [&](const std::string& word) {
    const auto found = parts_->ids.find(word);
    return found == parts_->ids.end() ? parts_->ids.at("[UNK]") : found->second;
  };
  ids.push_back(id("[CLS]"));
  int64_t cut = 0, count = 2;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find(' ', begin);
    if (end == std::string_view::npos) end = text.size();
    if (end > begin) {
      if (most && count == most) {
        ++cut;
      } else {
        ids.push_back(id(std::string(text.substr(begin, end - begin))));
        ++count;
      }
    }
    begin = end + 1;
  }
  ids.push_back(id("[SEP]"));
  return cut;
}

int32_t Tokenizer::special_tokens() const { return 2; }
int64_t Tokenizer::vocabulary_size() const { return static_cast<int64_t>(parts_->ids.size()); }
bool Tokenizer::is_special(int32_t id) const { return id == parts_->ids.at("[SEP]"); }

}  // namespace m3e
