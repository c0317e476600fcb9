// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/model_json.h"

#include "error.h"

namespace m3e {
namespace {

uint64_t read_natural(std::string_view text, const char* name) {
  const JsonNumber number = JsonText(text).number();
  if (!number.natural) refuse(std::string("\"") + name + "\" of the model is no whole number");
  return number.whole;
}

}  // namespace

size_t ModelJson::index_of(std::string_view name) {
  size_t index = 0;
  while (index < kCount && name != kNames[index]) ++index;
  return index;
}

ModelJson::ModelJson(JsonText& json) {
  json.object([&](std::string_view name) {
    const size_t index = index_of(name);
    if (name == "vocab") {
      vocabulary.read(json);
    } else if (index == kCount) {
      json.skip();
    } else if (index == 0 && has("type")) {
      json.fail("the type of the model is given twice");
    } else {
      texts_[index] = json.skip();
    }
  });
}

std::string_view ModelJson::text(const char* name) const { return texts_[index_of(name)]; }

std::string_view ModelJson::required(const char* name) const {
  if (!has(name)) refuse(std::string("the model lacks \"") + name + "\"");
  return text(name);
}

std::string ModelJson::type() const {
  if (has("type")) return string("type");
  if (vocabulary.kind == Vocabulary::Kind::scores) return "Unigram";
  if (has("merges")) return "BPE";
  return has("max_input_chars_per_word") && has("continuing_subword_prefix") ? "WordPiece"
                                                                             : "WordLevel";
}

std::string ModelJson::string(const char* name) const {
  return std::string(JsonText(required(name)).string());
}

uint64_t ModelJson::natural(const char* name) const { return read_natural(required(name), name); }

std::optional<std::string> ModelJson::optional_string(const char* name) const {
  if (is_null(name)) return std::nullopt;
  return string(name);
}

std::optional<uint64_t> ModelJson::optional_natural(const char* name) const {
  if (is_null(name)) return std::nullopt;
  return natural(name);
}

std::optional<double> ModelJson::optional_number(const char* name) const {
  if (is_null(name)) return std::nullopt;
  return JsonText(text(name)).number().value;
}

bool ModelJson::flag(const char* name) const { return has(name) && JsonText(text(name)).boolean(); }

bool ModelJson::flag_or_null(const char* name) const { return !is_null(name) && flag(name); }

}  // namespace m3e
