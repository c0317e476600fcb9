// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include "error.h"
#include "failure.h"

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

namespace m3e_cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};
char unfinished[4096];  // the file that a signal removes

extern "C" void remove_unfinished(int signal_number) {
  m3e::remove_file(unfinished);
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void remove_on_signals(const std::string& path) {
  if (path.size() >= sizeof unfinished) return;
  std::memcpy(unfinished, path.c_str(), path.size() + 1);
  for (const int each : kSignals) {
    // One that is ignored, as under nohup, stays so.
    if (std::signal(each, remove_unfinished) == SIG_IGN) std::signal(each, SIG_IGN);
  }
}

void forget_signals() {
  for (const int each : kSignals) {
    if (std::signal(each, SIG_DFL) == SIG_IGN) std::signal(each, SIG_IGN);
  }
}

}  // namespace

Output::Output(const std::string& path) : path_(path) {
#if defined(_WIN32)
  if (path.empty()) _setmode(_fileno(stdout), _O_BINARY);
#endif
  if (path.empty()) return;
  temporary_ = path + "." + std::to_string(getpid()) + ".partial";
  remove_on_signals(temporary_);
  try {
    file_ = m3e::open_file(temporary_, "wb");
  } catch (const m3e::Error& error) {
    throw Failure(error.what());
  }
}

Output::~Output() {
  if (!file_) return;
  file_.reset();
  m3e::remove_file(temporary_.c_str());
}

void Output::fail() const {
  const int reason = errno;
  if (path_.empty() && reason == EPIPE) throw ClosedPipe();
  throw Failure((path_.empty() ? "standard output" : path_) +
                " cannot be written: " + std::strerror(reason));
}

void Output::write(const void* data, size_t bytes) {
  if (std::fwrite(data, 1, bytes, stream()) != bytes) fail();
}

void Output::overwrite_start(const std::string& text) {
  if (std::fseek(stream(), 0, SEEK_SET) != 0) fail();
  write(text);
}

void Output::flush() {
  if (std::fflush(stream()) != 0) fail();
}

void Output::finish() {
  flush();
  if (!file_) return;
  if (std::fclose(file_.release()) != 0) {
    const int reason = errno;
    m3e::remove_file(temporary_.c_str());
    errno = reason;
    fail();
  }
  if (!m3e::rename_file(temporary_, path_)) {
    const int reason = errno;
    m3e::remove_file(temporary_.c_str());
    errno = reason;
    fail();
  }
  forget_signals();
}

void print(const std::string& text) {
  Output output("");
  output.write(text);
  output.finish();
}

}  // namespace m3e_cli
