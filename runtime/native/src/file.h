// SPDX-License-Identifier: Apache-2.0
// Files by path, on every system. Paths are UTF-8, and '/' may separate their names on Windows,
// too. What fails throws Error(file) with the path and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace m3e {

// A whole regular file, read-only.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using OpenFile = std::unique_ptr<std::FILE, CloseFile>;

// fopen with a path in UTF-8. Binary on every system: `mode` is "rb", "wb" or "ab".
OpenFile open_file(const std::string& path, const char* mode);

// Content of a regular file of at most `most` bytes.
std::string read_file(const std::string& path, size_t most);

bool is_file(const std::string& path);    // a regular file, or a link to one
bool is_folder(const std::string& path);  // or a link to one

// Renames a file and replaces what has the new name. False if that is not possible.
bool rename_file(const std::string& from, const std::string& to);

// Removes a file. A signal handler may call it. False if that is not possible.
bool remove_file(const char* path);

std::string join_path(const std::string& folder, const std::string& name);

// What lies in `folder` and in the folders below it, without folders: paths relative to `folder`
// with '/' between their names, sorted. A link counts as what it leads to, but links to folders are
// not followed.
std::vector<std::string> list_files(const std::string& folder);

// The absolute path without links. `path` must exist.
std::string canonical_path(const std::string& path);

// Whether `path`, links followed, lies below `folder`. Both must exist.
bool is_inside(const std::string& path, const std::string& folder);

}  // namespace m3e
