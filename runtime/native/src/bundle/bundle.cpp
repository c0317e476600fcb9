// SPDX-License-Identifier: Apache-2.0
#include "bundle.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "error.h"
#include "file.h"
#include "sha256.h"

namespace m3e {
namespace {

constexpr const char* kManifest = "manifest.json";
constexpr size_t kManifestLimit = 64u << 20;
constexpr const char* kAgain = "; export or copy the bundle again";

[[noreturn]] void damaged(const std::string& message) {
  throw Error(ErrorKind::integrity, message);
}

// The first line of every pointer, and the largest size of one:
// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
constexpr std::string_view kPointer = "version https://git-lfs.github.com/spec/";
constexpr uint64_t kLargestPointer = 1024;
constexpr const char* kPointerHint =
    ": a pointer of Git LFS, not the file itself; run `git lfs pull` in its repository";

bool is_pointer(std::string_view content) {
  return content.size() < kLargestPointer && content.substr(0, kPointer.size()) == kPointer;
}

// The names of a path with '/' between them, without empty names and ".".
std::vector<std::string> names_of(const std::string& path) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (!name.empty() && name != ".") names.push_back(name);
    begin = end + 1;
  }
  return names;
}

bool stays_inside(const std::string& path, const std::vector<std::string>& names) {
#if defined(_WIN32)
  constexpr std::string_view kForbidden("\\\0:", 3);  // C:name is relative to another folder
#else
  constexpr std::string_view kForbidden("\\\0", 2);
#endif
  return !names.empty() && path[0] != '/' && path.find_first_of(kForbidden) == std::string::npos &&
         std::find(names.begin(), names.end(), "..") == names.end();
}

std::string joined(const std::vector<std::string>& names) {
  std::string path;
  for (const std::string& name : names) path = join_path(path, name);
  return path;
}

bool exists(const std::string& path) { return is_file(path) || is_folder(path); }

std::string read_manifest(const std::string& folder) {
  if (!is_folder(folder)) {
    throw Error(ErrorKind::file, folder +
                                     ": no such folder. Make a bundle with `m3e-export "
                                     "CHECKPOINT -o " +
                                     folder + "`");
  }
  const std::string file = join_path(folder, kManifest);
  if (!is_file(file)) {
    throw Error(ErrorKind::file, folder +
                                     ": not a bundle, it has no manifest.json. If it is a "
                                     "checkpoint, export it first: `m3e-export " +
                                     folder + " -o BUNDLE`");
  }
  std::string content = read_file(file, kManifestLimit);
  if (is_pointer(content)) refuse(file + kPointerHint);
  if (content.compare(0, 3, "\xEF\xBB\xBF") == 0) content.erase(0, 3);
  return content;
}

// Refuses a pointer; returns the file's size.
size_t check_pointer(const std::string& path) {
  const MappedFile file(path);
  if (is_pointer({reinterpret_cast<const char*>(file.data()), file.size()})) {
    damaged(path + kPointerHint);
  }
  return file.size();
}

Manifest parse(const std::string& folder) {
  const std::string content = read_manifest(folder);
  try {
    return Manifest::parse(content);
  } catch (const Error& error) {
    refuse(join_path(folder, kManifest) + ": not a valid manifest (" + error.what() +
           "); export the bundle again");
  }
}

}  // namespace

Bundle::Bundle(const std::string& path) : path_(path), manifest_(parse(path)) {
  for (const FileEntry* entry : manifest_.entries()) resolve(*entry);
}

std::string Bundle::resolve(const FileEntry& entry) const {
  std::vector<std::string> names = names_of(entry.path);
  if (!stays_inside(entry.path, names)) {
    damaged(path_ + ": the manifest names '" + entry.path.c_str() +
            "', which is not inside the bundle; do not use this bundle");
  }
  const std::string file = join_path(path_, joined(names));
  // What is missing has no links; the folders above it may be links.
  while (!names.empty() && !exists(join_path(path_, joined(names)))) names.pop_back();
  if (!names.empty() && !is_inside(join_path(path_, joined(names)), path_)) {
    damaged(file + ": a link that leads out of the bundle; do not use this bundle");
  }
  return file;
}

void Bundle::verify(const FileEntry& entry) const {
  const std::string file = resolve(entry);
  try {
    if (!is_file(file)) damaged(file + ": missing or unreadable" + kAgain);
    const size_t size = check_pointer(file);
    if (entry.size < 0 || size != static_cast<uint64_t>(entry.size)) {
      damaged(file + ": " + std::to_string(size) + " bytes where the manifest says " +
              std::to_string(entry.size) + kAgain);
    }
    if (sha256_of_file(file) != entry.sha256) {
      damaged(file + ": its SHA-256 is not the one in the manifest" + kAgain);
    }
  } catch (const Error& error) {
    damaged(error.what());  // one that cannot be read is damaged, too
  }
}

void Bundle::verify(const Artifact& artifact) const {
  for (const FileEntry& entry : artifact.files) verify(entry);
  check_listed(artifact);
}

void Bundle::check_listed(const Artifact& artifact) const {
  std::set<std::string> known;
  for (const FileEntry* entry : manifest_.entries()) known.insert(joined(names_of(entry->path)));
  std::vector<std::string> names = names_of(artifact.files[0].path);
  names.pop_back();
  const std::string inner = joined(names);
  for (const std::string& name : list_files(join_path(path_, inner))) {
    const std::string file = inner.empty() ? name : join_path(inner, name);
    if (!known.count(file)) {
      damaged(join_path(path_, file) +
              ": not named in the manifest; remove it or export the bundle again");
    }
  }
}

}  // namespace m3e
