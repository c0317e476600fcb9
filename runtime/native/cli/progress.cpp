// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <cstdio>

#if defined(_WIN32)
#include <io.h>
#define isatty _isatty
#define fileno _fileno
#else
#include <unistd.h>
#endif

namespace m3e_cli {

Progress::Progress() : is_shown_(isatty(fileno(stderr)) != 0) {}

Progress::~Progress() {
  if (is_drawn_) std::fprintf(stderr, "\r%60s\r", "");
}

void Progress::add(size_t count) {
  count_ += static_cast<int64_t>(count);
  const Clock::time_point now = Clock::now();
  if (is_shown_ && now >= next_) show(now);
}

void Progress::show(Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  std::fprintf(stderr, "\r%lld texts, %.0f a second ", static_cast<long long>(count_),
               static_cast<double>(count_) / seconds);
  std::fflush(stderr);
  is_drawn_ = true;
  next_ = now + std::chrono::milliseconds(200);
}

}  // namespace m3e_cli
