// SPDX-License-Identifier: Apache-2.0
#include "prompts.h"

#include "error.h"
#include "tokenizer/unicode.h"

namespace m3e {
namespace {

[[noreturn]] void wrong(const std::string& message) { throw Error(ErrorKind::argument, message); }

void check_route(const std::optional<Route>& route, const std::string& task) {
  if (!route) return;
  const auto found = route->tasks.find(task);
  if (found == route->tasks.end() || found->second == route->name) return;
  const std::string& other = found->second;
  wrong("'" + task + "' goes through the route '" + other +
        "' of this model, and this bundle is its route '" + route->name +
        "'; encode with the bundle that `m3e-export --route " + other + "` writes");
}

// Every model of vectors has these two, which may be empty.
bool is_everywhere(const Manifest& manifest, const std::string& name) {
  return !manifest.classification && (name == "query" || name == "document");
}

std::string named_prompt(const Manifest& manifest, const std::string& name) {
  const std::map<std::string, std::string>& prompts = manifest.prompts;
  const auto found = prompts.find(name);
  if (found != prompts.end()) return found->second;
  if (is_everywhere(manifest, name)) return "";
  std::string known;
  for (const auto& [each, text] : prompts) known += (known.empty() ? "" : ", ") + each;
  wrong("prompt_name '" + name +
        "' is not in the bundle; it has: " + (known.empty() ? "none" : known));
}

}  // namespace

std::string choose_prompt(const Manifest& manifest, const char* name, const char* prompt) {
  if (name) check_route(manifest.route, name);
  if (prompt) {
    if (!unicode::is_utf8(prompt)) wrong("the prompt is not UTF-8");
    return prompt;
  }
  if (name) return named_prompt(manifest, name);
  return manifest.default_prompt_name ? manifest.prompts.at(*manifest.default_prompt_name) : "";
}

}  // namespace m3e
