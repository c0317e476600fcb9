// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <cerrno>
#include <cstring>

#include "error.h"

namespace m3e {
namespace {

bool is_separator(char c) {
#if defined(_WIN32)
  return c == '/' || c == '\\';
#else
  return c == '/';
#endif
}

}  // namespace

std::string read_file(const std::string& path, size_t most) {
  if (!is_file(path)) {
    canonical_path(path);  // throws the system's reason if nothing is there
    throw Error(ErrorKind::file, path + " is not a regular file");
  }
  const OpenFile file = open_file(path, "rb");
  std::string content;
  char block[1 << 14];
  while (const size_t bytes = std::fread(block, 1, sizeof block, file.get())) {
    if (bytes > most - content.size()) {
      throw Error(ErrorKind::file, path + " has more than " + std::to_string(most) + " bytes");
    }
    content.append(block, bytes);
  }
  if (std::ferror(file.get())) {
    throw Error(ErrorKind::file, "cannot read " + path + ": " + std::strerror(errno));
  }
  return content;
}

std::string join_path(const std::string& folder, const std::string& name) {
  if (folder.empty() || is_separator(folder.back())) return folder + name;
  return folder + '/' + name;
}

bool is_inside(const std::string& path, const std::string& folder) {
  const std::string inner = canonical_path(path), outer = canonical_path(folder);
  if (inner.compare(0, outer.size(), outer) != 0 || inner.size() == outer.size()) return false;
  return is_separator(outer.back()) || is_separator(inner[outer.size()]);
}

}  // namespace m3e
