// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "bundle/json_writer.h"
#include "commands.h"
#include "failure.h"
#include "json.h"
#include "model.h"
#include "output.h"

namespace m3e_cli {
namespace {

constexpr const char* kExamples =
    "  m3e check m3e-small-int8\n"
    "  m3e check m3e-small-int8 --artifact int8-native --json\n";

struct Result {
  std::string name;
  bool ran = false, passed = false;
  float measured = 0;   // the least cosine, or the largest difference of a score
  std::string message;  // why it did not run, or did not pass
};

Result check_artifact(const std::string& bundle, const std::string& name, int32_t threads) {
  Result result;
  result.name = name;
  m3e_options options = M3E_OPTIONS;
  options.threads = threads;
  options.artifact = name.c_str();
  options.skip_verification = 1;  // verified before
  char message[M3E_MESSAGE_SIZE] = "";
  m3e_model* opened = nullptr;
  check(m3e_open(bundle.c_str(), &options, &opened, message), message);
  const OpenModel model(opened);
  const m3e_status status = m3e_model_check(model.get(), &result.measured, message);
  if (status != M3E_OK && status != M3E_ERROR_INTEGRITY) check(status, message);
  result.ran = true;
  result.passed = status == M3E_OK;
  result.message = message;
  return result;
}

std::vector<Result> check_all(const Arguments& arguments, const m3e::Json& info) {
  const std::string& bundle = arguments.rest()[0];
  std::vector<Result> results;
  for (const m3e::Json& each : info.at("artifacts").array()) {
    const std::string name = each.at("name").string();
    if (arguments.has("--artifact") && name != arguments.text("--artifact")) continue;
    if (const m3e::Json* why_not = each.find("why_not_here")) {
      results.push_back({name, false, false, 0, why_not->string()});
    } else {
      results.push_back(check_artifact(bundle, name, threads_of(arguments)));
    }
  }
  return results;
}

std::string as_json(const std::vector<Result>& results, bool scores, bool passed) {
  m3e::JsonWriter json;
  json.open('{').key("passed").value(passed).key("artifacts").open('[');
  for (const Result& each : results) {
    json.open('{').key("name").value(each.name).key("ran").value(each.ran);
    json.key("passed").value(each.passed).key(scores ? "largest_difference" : "least_cosine");
    each.ran ? json.value(static_cast<double>(each.measured)) : json.null();
    json.key("message").value(each.message).close('}');
  }
  return json.close(']').close('}').text() + "\n";
}

std::string as_lines(const std::string& bundle, const std::vector<Result>& results, bool scores) {
  std::string lines = bundle + ": hashes match\n";
  for (const Result& each : results) {
    char found[64];
    std::snprintf(found, sizeof found,
                  scores ? "ok, largest difference of a score %.1e" : "ok, least cosine %.6f",
                  static_cast<double>(each.measured));
    lines += each.name + ": " +
             (each.passed ? found
              : each.ran  ? "FAILED, " + each.message
                          : "not run, it " + each.message) +
             "\n";
  }
  return lines;
}

int run(const Arguments& arguments) {
  const std::string& bundle = arguments.rest()[0];
  char message[M3E_MESSAGE_SIZE];
  check(m3e_bundle_verify(bundle.c_str(), arguments.text_or_null("--artifact"), message), message);
  const m3e::Json info = m3e::Json::parse(bundle_info(bundle));
  const bool scores = info.find("labels") != nullptr;
  const std::vector<Result> results = check_all(arguments, info);
  bool passed = false;  // of a bundle of which nothing runs, nothing is known
  for (const Result& each : results) passed = passed || each.ran;
  for (const Result& each : results) passed = passed && (each.passed || !each.ran);
  print(arguments.has("--json") ? as_json(results, scores, passed)
                                : as_lines(bundle, results, scores));
  return passed ? 0 : kFailed;
}

}  // namespace

Command check_command() {
  return {
      {"check",
       "BUNDLE",
       "Compare every file with its SHA-256 in the manifest, and the vectors or scores of every\n"
       "native artifact with the golden ones. Fails if one differs, or if none can be run.",
       {{"--artifact", "NAME", "check this artifact and its files only"},
        {"--threads", "N", "threads of the engine (default: all processors)"},
        {"--json", nullptr, "print a JSON object"}},
       kExamples,
       1,
       1},
      run,
      "hashes and golden vectors"};
}

}  // namespace m3e_cli
