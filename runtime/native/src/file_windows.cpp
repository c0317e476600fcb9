// SPDX-License-Identifier: Apache-2.0
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <algorithm>

#include "error.h"
#include "file.h"

namespace m3e {
namespace {

constexpr size_t kLongPath = MAX_PATH - 12;  // so that a short file name fits below a folder, too

std::string narrow(const std::wstring& text) {
  const int length = static_cast<int>(text.size());
  std::string result(3 * text.size(), '\0');
  const int bytes = WideCharToMultiByte(CP_UTF8, 0, text.data(), length, &result[0],
                                        static_cast<int>(result.size()), nullptr, nullptr);
  result.resize(static_cast<size_t>(bytes));
  return result;
}

// The system's words for the last error.
std::string reason() {
  const DWORD code = GetLastError();
  wchar_t text[256];
  DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr,
                                code, 0, text, sizeof text / sizeof *text, nullptr);
  while (length && (text[length - 1] <= L' ' || text[length - 1] == L'.')) --length;
  return length ? narrow(std::wstring(text, length)) : "error " + std::to_string(code);
}

[[noreturn]] void cannot(const char* what, const std::string& path) {
  throw Error(ErrorKind::file, std::string("cannot ") + what + " " + path + ": " + reason());
}

std::wstring full_path(const std::wstring& path) {
  std::wstring full(GetFullPathNameW(path.c_str(), 0, nullptr, nullptr), L'\0');
  full.resize(GetFullPathNameW(path.c_str(), static_cast<DWORD>(full.size()), &full[0], nullptr));
  return full;
}

// In UTF-16. Windows takes a long path only in its own form: absolute, after a prefix.
std::wstring wide(const std::string& path) {
  const int bytes = static_cast<int>(path.size());
  std::wstring result(path.size(), L'\0');
  const int length =
      MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, &result[0], bytes);
  if (length == 0 && bytes != 0) throw Error(ErrorKind::file, "a path is not valid UTF-8");
  result.resize(static_cast<size_t>(length));
  if (result.size() < kLongPath || result.compare(0, 4, L"\\\\?\\") == 0) return result;
  result = full_path(result);
  return result.compare(0, 2, L"\\\\") == 0 ? L"\\\\?\\UNC" + result.substr(1)
                                            : L"\\\\?\\" + result;
}

// Closes a handle.
class Handle {
 public:
  explicit Handle(HANDLE handle) : handle_(handle) {}
  ~Handle() {
    if (*this) CloseHandle(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  explicit operator bool() const { return handle_ && handle_ != INVALID_HANDLE_VALUE; }
  HANDLE get() const { return handle_; }

 private:
  const HANDLE handle_;
};

// Other programs may read the file, rename it and delete it.
HANDLE open_handle(const std::string& path, DWORD access, DWORD flags) {
  return CreateFileW(wide(path).c_str(), access, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                     OPEN_EXISTING, flags, nullptr);
}

DWORD attributes(const std::string& path) { return GetFileAttributesW(wide(path).c_str()); }

void list(const std::string& folder, const std::string& prefix, std::vector<std::string>& files) {
  WIN32_FIND_DATAW entry;
  const HANDLE search = FindFirstFileW(wide(join_path(folder, "*")).c_str(), &entry);
  if (search == INVALID_HANDLE_VALUE) cannot("list", folder);
  struct Close {
    HANDLE search;
    ~Close() { FindClose(search); }
  } const close{search};
  do {
    const std::string name = narrow(entry.cFileName);
    if (name == "." || name == "..") continue;
    const bool link = (entry.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
    if (!(entry.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)) {
      files.push_back(prefix + name);
    } else if (!link) {
      list(join_path(folder, name), prefix + name + '/', files);
    }
  } while (FindNextFileW(search, &entry));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  if (is_folder(path)) throw Error(ErrorKind::file, path + " is not a regular file");
  const Handle file(open_handle(path, GENERIC_READ, FILE_ATTRIBUTE_NORMAL));
  if (!file) cannot("open", path);
  LARGE_INTEGER size;
  if (GetFileType(file.get()) != FILE_TYPE_DISK || !GetFileSizeEx(file.get(), &size)) {
    throw Error(ErrorKind::file, path + " is not a regular file");
  }
  if (static_cast<uint64_t>(size.QuadPart) > SIZE_MAX) {
    throw Error(ErrorKind::file, path + " is larger than the memory that a process can address");
  }
  size_ = static_cast<size_t>(size.QuadPart);
  if (size_ == 0) return;
  const Handle mapping(CreateFileMappingW(file.get(), nullptr, PAGE_READONLY, 0, 0, nullptr));
  if (!mapping) cannot("map", path);
  data_ = static_cast<const uint8_t*>(MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, 0));
  if (!data_) cannot("map", path);
}

MappedFile::~MappedFile() {
  if (data_) UnmapViewOfFile(data_);
}

OpenFile open_file(const std::string& path, const char* mode) {
  const std::string letters = mode;
  OpenFile file(_wfopen(wide(path).c_str(), std::wstring(letters.begin(), letters.end()).c_str()));
  if (!file) cannot("open", path);
  return file;
}

bool is_file(const std::string& path) {
  const DWORD found = attributes(path);
  return found != INVALID_FILE_ATTRIBUTES && !(found & FILE_ATTRIBUTE_DIRECTORY);
}

bool is_folder(const std::string& path) {
  const DWORD found = attributes(path);
  return found != INVALID_FILE_ATTRIBUTES && (found & FILE_ATTRIBUTE_DIRECTORY);
}

bool rename_file(const std::string& from, const std::string& to) {
  return MoveFileExW(wide(from).c_str(), wide(to).c_str(), MOVEFILE_REPLACE_EXISTING) != 0;
}

bool remove_file(const char* path) { return DeleteFileW(wide(path).c_str()) != 0; }

std::vector<std::string> list_files(const std::string& folder) {
  std::vector<std::string> files;
  list(folder, "", files);
  std::sort(files.begin(), files.end());
  return files;
}

std::string canonical_path(const std::string& path) {
  const Handle file(open_handle(path, 0, FILE_FLAG_BACKUP_SEMANTICS));  // which folders need
  if (!file) cannot("find", path);
  std::wstring found(GetFinalPathNameByHandleW(file.get(), nullptr, 0, 0), L'\0');
  const DWORD length =
      GetFinalPathNameByHandleW(file.get(), &found[0], static_cast<DWORD>(found.size()), 0);
  if (length == 0) cannot("find", path);
  found.resize(length);
  return narrow(found);
}

}  // namespace m3e
