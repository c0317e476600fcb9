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

std::string fidelity_of(const m3e::Json& artifact) {
  char text[64];
  if (const m3e::Json* scores = artifact.find("score_fidelity")) {
    std::snprintf(text, sizeof text, "largest difference %.1e",
                  scores->at("max_difference").number());
  } else {
    std::snprintf(text, sizeof text, "mean cosine %.6f",
                  artifact.at("fidelity").at("mean_cosine").number());
  }
  return text;
}

std::string artifact_line(const m3e::Json& artifact) {
  const std::string name = artifact.at("name").string();
  char bytes[32];
  std::snprintf(bytes, sizeof bytes, "%.1f MB", artifact.at("bytes").number() / 1e6);
  const m3e::Json* why_not = artifact.find("why_not_here");
  return line("  " + name, artifact.at("precision").string() + ", " + bytes + ", " +
                               fidelity_of(artifact) + (why_not ? ", " + why_not->string() : ""));
}

std::string label_lines(const m3e::Json& labels, const m3e::Json& info) {
  std::string names;
  for (const m3e::Json& each : labels.array()) names += (names.empty() ? "" : ", ") + each.string();
  return line("labels", names) + line("activation", info.at("activation").string());
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
  const m3e::Json* labels = info.find("labels");
  std::string lines =
      line("source", info.at("source").string()) + line("licence", info.at("licence").string()) +
      (labels ? label_lines(*labels, info) : line("dimensions", number("dimension"))) +
      line("most tokens", number("max_tokens")) + line("pooling", info.at("pooling").string());
  if (!labels) lines += line("similarity", info.at("similarity").string());
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
