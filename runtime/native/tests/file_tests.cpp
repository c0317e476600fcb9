// SPDX-License-Identifier: Apache-2.0
// Files with names in any script, links, and what is no file.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "error.h"
#include "file.h"

using namespace m3e;
namespace fs = std::filesystem;

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what);
  std::exit(1);
}

template <class Body>
void expect_error(Body body, const std::string& words) {
  try {
    body();
  } catch (const Error& error) {
    expect(error.kind == ErrorKind::file, "the kind of error");
    if (std::string(error.what()).find(words) != std::string::npos) return;
    std::printf("%s\n", error.what());
  }
  expect(false, words.c_str());
}

void write(const std::string& path, const std::string& content) {
  const OpenFile file = open_file(path, "wb");
  expect(std::fwrite(content.data(), 1, content.size(), file.get()) == content.size(), "writing");
}

std::string mapped(const std::string& path) {
  const MappedFile file(path);
  return std::string(reinterpret_cast<const char*>(file.data()), file.size());
}

void test_content(const std::string& folder) {
  const std::string path = join_path(folder, "向量 é.bin"), content("a\r\n\0\x1a z", 7);
  write(path, content);
  expect(mapped(path) == content, "mapping");
  expect(read_file(path, content.size()) == content, "reading");
  expect_error([&] { read_file(path, content.size() - 1); }, "more than 6 bytes");
  write(path, "");
  expect(mapped(path).empty() && read_file(path, 0).empty(), "an empty file");
}

void test_what_is_no_file(const std::string& folder) {
  const std::string missing = join_path(folder, "missing");
  expect(!is_file(missing) && !is_folder(missing), "a missing file");
  expect_error([&] { MappedFile file(missing); }, "cannot open");
  expect_error([&] { read_file(missing, 9); }, "cannot find");
  expect_error([&] { list_files(missing); }, "cannot list");
  expect_error([&] { canonical_path(missing); }, "cannot find");
  expect(is_folder(folder) && !is_file(folder), "a folder");
  expect_error([&] { MappedFile file(folder); }, "not a regular file");
  expect_error([&] { read_file(folder, 9); }, "not a regular file");
}

void test_tree(const std::string& folder) {
  const std::string long_name(200, 'l');
  fs::create_directories(fs::u8path(folder) / "b" / "empty");
  write(join_path(folder, "b/y"), "y");
  write(join_path(folder, "a"), "a");
  write(join_path(folder, long_name), "long");
  expect(list_files(folder) == std::vector<std::string>{"a", "b/y", long_name}, "a tree's files");
  expect(is_inside(join_path(folder, "b/../b/y"), folder), "a file inside");
  expect(is_inside(join_path(folder, "b/y"), join_path(folder, "b/")), "a file inside b/");
  expect(!is_inside(join_path(folder, "b/../a"), join_path(folder, "b")), "a file outside");
  expect(!is_inside(folder, folder), "the folder itself");
  write(join_path(folder, "bc"), "");
  expect(!is_inside(join_path(folder, "bc"), join_path(folder, "b")), "a longer name");
}

#if !defined(_WIN32)
void test_links(const std::string& folder) {
  const std::string inner = join_path(folder, "in");
  fs::create_directories(inner);
  write(join_path(folder, "out"), "out");
  write(join_path(inner, "file"), "");
  fs::create_symlink("../out", join_path(inner, "leads_out"));
  fs::create_symlink("file", join_path(inner, "stays"));
  fs::create_symlink("..", join_path(inner, "up"));
  fs::create_symlink("nowhere", join_path(inner, "dangling"));
  expect(!is_inside(join_path(inner, "leads_out"), inner), "a link that leads out");
  expect(is_inside(join_path(inner, "stays"), inner), "a link that stays");
  expect(list_files(inner) == std::vector<std::string>{"dangling", "file", "leads_out", "stays"},
         "links are listed, and not followed to folders");
  expect(mapped(join_path(inner, "leads_out")) == "out", "mapping through a link");
}
#endif

}  // namespace

int main() {
  const fs::path root =
      fs::temp_directory_path() / fs::u8path("m3e 测试 " + std::to_string(std::random_device()()));
  for (const char* name : {"content", "no_file", "tree", "links"})
    fs::create_directories(root / name);
  const std::string folder = root.u8string();
  test_content(join_path(folder, "content"));
  test_what_is_no_file(join_path(folder, "no_file"));
  test_tree(join_path(folder, "tree"));
#if !defined(_WIN32)
  test_links(join_path(folder, "links"));
#endif
  fs::remove_all(root);
  std::printf("files: passed\n");
  return 0;
}
