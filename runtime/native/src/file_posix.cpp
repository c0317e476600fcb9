// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "error.h"
#include "file.h"

namespace m3e {
namespace {

[[noreturn]] void cannot(const char* what, const std::string& path) {
  throw Error(ErrorKind::file,
              std::string("cannot ") + what + " " + path + ": " + std::strerror(errno));
}

// Closes a descriptor.
struct Descriptor {
  const int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

bool is_kind(const std::string& path, mode_t kind) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && (status.st_mode & S_IFMT) == kind;
}

bool is_link(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

void list(const std::string& folder, const std::string& prefix, std::vector<std::string>& files) {
  const std::unique_ptr<DIR, CloseFolder> open(opendir(folder.c_str()));
  if (!open) cannot("list", folder);
  while (const dirent* entry = readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::string path = join_path(folder, name);
    if (!is_folder(path)) {
      files.push_back(prefix + name);
    } else if (!is_link(path)) {
      list(path, prefix + name + '/', files);
    }
  }
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe waits for a writer.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) cannot("open", path);
  struct stat status;
  if (fstat(file.number, &status) != 0 || !S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::file, path + " is not a regular file");
  }
  if (static_cast<uint64_t>(status.st_size) > SIZE_MAX) {
    throw Error(ErrorKind::file, path + " is larger than the memory that a process can address");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (mapped == MAP_FAILED) cannot("map", path);
  data_ = static_cast<const uint8_t*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<uint8_t*>(data_), size_);
}

OpenFile open_file(const std::string& path, const char* mode) {
  OpenFile file(std::fopen(path.c_str(), mode));
  if (!file) cannot("open", path);
  return file;
}

bool is_file(const std::string& path) { return is_kind(path, S_IFREG); }
bool is_folder(const std::string& path) { return is_kind(path, S_IFDIR); }

bool rename_file(const std::string& from, const std::string& to) {
  return std::rename(from.c_str(), to.c_str()) == 0;
}

bool remove_file(const char* path) { return unlink(path) == 0; }

std::vector<std::string> list_files(const std::string& folder) {
  std::vector<std::string> files;
  list(folder, "", files);
  std::sort(files.begin(), files.end());
  return files;
}

std::string canonical_path(const std::string& path) {
  char* found = realpath(path.c_str(), nullptr);
  if (!found) cannot("find", path);
  std::string canonical = found;
  std::free(found);
  return canonical;
}

}  // namespace m3e
