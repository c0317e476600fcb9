// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "commands.h"
#include "json.h"
#include "model.h"
#include "output.h"

namespace m3e_cli {
namespace {

constexpr const char* kExamples =
    "  m3e info m3e-small-int8\n"
    "  m3e info m3e-small-int8 --json | jq .artifacts\n";

std::string line(const std::string& name, const std::string& value) {
  return name + ":" + std::string(name.size() < 14 ? 14 - name.size() : 1, ' ') + value + "\n";
}

std::string artifact_line(const m3e::Json& artifact) {
  const std::string name = artifact.at("name").string();
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "%s, %.1f MB, mean cosine %.6f",
                artifact.at("precision").string().c_str(), artifact.at("bytes").number() / 1e6,
                artifact.at("fidelity").at("mean_cosine").number());
  const m3e::Json* why_not = artifact.find("why_not_here");
  return line("  " + name, numbers + (why_not ? ", " + why_not->string() : std::string()));
}

std::string prompt_lines(const m3e::Json& info) {
  std::string lines;
  for (const auto& [name, text] : info.at("prompts").object()) {
    lines += line("  " + name, "'" + text.string() + "'");
  }
  return lines.empty()
             ? ""
             : "prompts:\n" + lines + line("default", info.text("default_prompt_name", "none"));
}

std::string described(const m3e::Json& info) {
  const auto number = [&](const char* name) { return std::to_string(info.at(name).integer()); };
  std::string lines =
      line("source", info.at("source").string()) + line("licence", info.at("licence").string()) +
      line("dimensions", number("dimension")) + line("most tokens", number("max_tokens")) +
      line("pooling", info.at("pooling").string()) +
      line("similarity", info.at("similarity").string());
  if (info.find("route")) lines += line("route", info.text("route", ""));
  lines +=
      prompt_lines(info) + line("runs here", info.text("artifact", "nothing")) + "artifacts:\n";
  for (const m3e::Json& each : info.at("artifacts").array()) lines += artifact_line(each);
  return lines + line("processor", m3e_instruction_sets());
}

int run(const Arguments& arguments) {
  const std::string info = bundle_info(arguments.rest()[0]);
  print(arguments.has("--json") ? info + "\n" : described(m3e::Json::parse(info)));
  return 0;
}

}  // namespace

Command info_command() {
  return {{"info",
           "BUNDLE",
           "Describe a bundle: source, sizes, prompts, artifacts. Reads its manifest only.",
           {{"--json", nullptr, "print a JSON object"}},
           kExamples,
           1,
           1},
          run,
          "what a bundle is"};
}

}  // namespace m3e_cli
