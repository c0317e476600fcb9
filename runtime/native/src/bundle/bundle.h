// SPDX-License-Identifier: Apache-2.0
// A bundle on disk: its manifest, and the verification of its files. The reference is
// m3e_runtime/bundle.py.
#pragma once

#include <string>

#include "manifest.h"

namespace m3e {

class Bundle {
 public:
  // Reads the manifest of the bundle in folder `path`, in UTF-8, and no other file. Throws
  // Error(file) if there is none, Error(format) if it is not valid, and Error(integrity) if it
  // names a file outside the folder.
  explicit Bundle(const std::string& path);

  const std::string& path() const { return path_; }
  const Manifest& manifest() const { return manifest_; }

  // Path of a file on disk. Throws Error(integrity) if it, or a link on the way, leads out of the
  // folder.
  std::string resolve(const FileEntry& entry) const;

  // Throws Error(integrity) if the file is missing, or differs in size or SHA-256.
  void verify(const FileEntry& entry) const;

  // Verifies every file of `artifact`. Throws Error(integrity) also if the folder of its entry
  // point holds a file that is not listed.
  void verify(const Artifact& artifact) const;

 private:
  void check_listed(const Artifact& artifact) const;

  std::string path_;
  Manifest manifest_;
};

}  // namespace m3e
