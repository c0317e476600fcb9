// SPDX-License-Identifier: Apache-2.0
#include "fields.h"

#include "error.h"

namespace m3e {

Fields::Fields(const Json& object, const std::string& where) : where_(where) {
  if (!object.is_object()) refuse((where.empty() ? "the manifest" : where) + " is not an object");
  for (const auto& [name, value] : object.object()) {
    if (!members_.emplace(name, &value).second) refuse(path(name) + " is there twice");
  }
  unread_ = members_;
}

std::string Fields::path(const std::string& name) const {
  return where_.empty() ? name : where_ + "." + name;
}

void Fields::expected(const std::string& name, const char* what) const {
  refuse(path(name) + " is not " + what);
}

const Json& Fields::value(const std::string& name) {
  const auto found = members_.find(name);
  if (found == members_.end()) refuse(path(name) + " is missing");
  unread_.erase(name);
  return *found->second;
}

std::string Fields::text(const std::string& name) {
  const Json& found = value(name);
  if (!found.is_string()) expected(name, "a string");
  return found.string();
}

std::string Fields::word(const std::string& name, std::initializer_list<const char*> known) {
  const std::string found = text(name);
  std::string all;
  for (const char* each : known) {
    if (found == each) return found;
    all += (all.empty() ? "" : ", ") + std::string(each);
  }
  refuse(path(name) + " is '" + found.substr(0, 80) + "'; known: " + all);
}

int64_t Fields::integer(const std::string& name) {
  const Json& found = value(name);
  if (found.kind() != Json::Kind::number) expected(name, "a whole number");
  return found.integer();
}

double Fields::number(const std::string& name) {
  const Json& found = value(name);
  if (found.kind() != Json::Kind::number) expected(name, "a number");
  return found.number();
}

bool Fields::flag(const std::string& name) {
  const Json& found = value(name);
  if (found.kind() != Json::Kind::boolean) expected(name, "true or false");
  return found.boolean();
}

std::map<std::string, std::string> Fields::texts(const std::string& name) {
  Fields members(value(name), path(name));
  std::map<std::string, std::string> found;
  for (const auto& [key, unused] : members.members_) found.emplace(key, members.text(key));
  return found;
}

const std::vector<Json>& Fields::array(const std::string& name) {
  const Json& found = value(name);
  if (!found.is_array()) expected(name, "an array");
  return found.array();
}

std::vector<std::string> Fields::list(const std::string& name) {
  std::vector<std::string> found;
  for (const Json& each : array(name)) {
    if (!each.is_string()) expected(name, "an array of strings");
    found.push_back(each.string());
  }
  return found;
}

bool Fields::given(const std::string& name) { return has(name) && !value(name).is_null(); }

std::optional<std::string> Fields::optional_text(const std::string& name) {
  return given(name) ? std::optional<std::string>(text(name)) : std::nullopt;
}

void Fields::end() const {
  if (!unread_.empty()) refuse(path(unread_.begin()->first) + " is unknown");
}

}  // namespace m3e
