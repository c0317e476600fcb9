// SPDX-License-Identifier: Apache-2.0
// m3e: sentence vectors on a CPU, in one executable.
#include <csignal>
#include <cstdio>
#include <exception>

#include "commands.h"
#include "failure.h"
#include "m3e.h"
#include "output.h"

namespace m3e_cli {

const std::vector<Option> kPromptOptions = {
    {"--prompt-name", "NAME", "a prompt of the bundle, put before each text"},
    {"--prompt", "TEXT", "a prompt as text; takes precedence over --prompt-name"},
};

std::vector<Option> join(std::vector<Option> own, const std::vector<Option>& more) {
  own.insert(own.end(), more.begin(), more.end());
  return own;
}

namespace {

std::vector<Command> commands() {
  return {embed_command(), rerank_command(),   similarity_command(), info_command(),
          check_command(), tokenize_command(), bench_command()};
}

std::string help() {
  std::string text =
      "usage: m3e COMMAND BUNDLE ...\n\n"
      "Sentence vectors and scores of pairs on a CPU. BUNDLE is a folder that m3e-export "
      "writes.\n\ncommands:\n";
  for (const Command& each : commands()) {
    const std::string name = each.usage.name;
    text += "  " + name + std::string(12 - name.size(), ' ') + each.summary + "\n";
  }
  return text +
         "\n`m3e COMMAND --help` has options and examples. `m3e --version` prints the version.\n"
         "\nexit codes: 0 ok, 1 failure, 2 usage\n";
}

std::string version() {
  return "m3e " M3E_VERSION ", C interface " + std::to_string(m3e_abi_version()) + ", " +
         m3e_instruction_sets() + "\n";
}

int run(const std::vector<std::string>& given) {
  if (given.empty()) throw Failure("usage: m3e COMMAND BUNDLE ...; `m3e --help` has more", kUsage);
  if (given[0] == "--help" || given[0] == "-h") return print(help()), 0;
  if (given[0] == "--version") return print(version()), 0;
  const std::vector<std::string> rest(given.begin() + 1, given.end());
  for (const Command& each : commands()) {
    if (given[0] != each.usage.name) continue;
    if (rest.size() == 1 && (rest[0] == "--help" || rest[0] == "-h")) {
      return print(help_of(each.usage)), 0;
    }
    return each.run(Arguments(each.usage, rest));
  }
  throw Failure("unknown command " + given[0] + "; `m3e --help` lists them", kUsage);
}

int guarded(const std::vector<std::string>& given) {
  try {
    return run(given);
  } catch (const ClosedPipe&) {
    return 0;
  } catch (const Failure& failure) {
    std::fprintf(stderr, "m3e: %s.\n", failure.what());
    return failure.code;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "m3e: not enough memory.\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "m3e: %s.\n", error.what());
  }
  return kFailed;
}

}  // namespace
}  // namespace m3e_cli

int main(int argc, char** argv) {
#if defined(SIGPIPE)
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is seen where it is written to
#endif
  return m3e_cli::guarded(m3e_cli::utf8_arguments(argc, argv));
}
