// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include <cmath>

#include "error.h"
#include "json_text.h"

namespace m3e {
namespace {

constexpr int kDeepest = 64;
constexpr double kLargestInteger = 9007199254740992.0;  // 2^53: above, doubles skip integers

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text, kDeepest) {}

  Json document() {
    Json value = parse();
    text_.end();
    return value;
  }

 private:
  Json parse() {
    Json value;
    switch (text_.peek()) {
      case '{':
        value.kind_ = Json::Kind::object;
        text_.object([&](std::string_view key) {
          std::string name(key);  // the next string ends `key`
          value.object_.emplace_back(std::move(name), parse());
        });
        break;
      case '[':
        value.kind_ = Json::Kind::array;
        text_.array([&] { value.array_.push_back(parse()); });
        break;
      case '"':
        value.kind_ = Json::Kind::string;
        value.string_ = text_.string();
        break;
      case 't':
      case 'f':
        value.kind_ = Json::Kind::boolean;
        value.boolean_ = text_.boolean();
        break;
      case 'n':
        if (!text_.accept_null()) text_.fail("a value expected");
        break;
      default:
        value.kind_ = Json::Kind::number;
        value.number_ = text_.number().value;
    }
    return value;
  }

  JsonText text_;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

void Json::require(Kind kind, const char* name) const {
  if (kind_ != kind) refuse(std::string("the JSON has another type where ") + name + " is due");
}

bool Json::boolean() const {
  require(Kind::boolean, "true or false");
  return boolean_;
}

double Json::number() const {
  require(Kind::number, "a number");
  return number_;
}

int64_t Json::integer() const {
  require(Kind::number, "a whole number");
  if (number_ != std::floor(number_) || std::fabs(number_) > kLargestInteger) {
    refuse("the JSON has a fraction or a huge number where a whole number is due");
  }
  return static_cast<int64_t>(number_);
}

const std::string& Json::string() const {
  require(Kind::string, "a string");
  return string_;
}

const std::vector<Json>& Json::array() const {
  require(Kind::array, "an array");
  return array_;
}

const std::vector<Json::Member>& Json::object() const {
  require(Kind::object, "an object");
  return object_;
}

const Json* Json::find(std::string_view key) const {
  const std::vector<Member>& members = object();
  for (auto member = members.rbegin(); member != members.rend(); ++member) {
    if (member->first == key) return member->second.is_null() ? nullptr : &member->second;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (!found) refuse("the JSON lacks the member \"" + std::string(key) + "\"");
  return *found;
}

bool Json::flag(std::string_view key, bool absent) const {
  const Json* found = find(key);
  return found ? found->boolean() : absent;
}

std::string Json::text(std::string_view key, const std::string& absent) const {
  const Json* found = find(key);
  return found ? found->string() : absent;
}

}  // namespace m3e
