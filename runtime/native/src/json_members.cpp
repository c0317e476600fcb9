#include "json_members.h"

#include <array>

#include "error.h"
#include "json.h"

namespace m3e {
namespace {

// What the scanner stops at outside strings: quotes and brackets.
constexpr std::array<bool, 256> kStructure = [] {
  std::array<bool, 256> stops{};
  for (const char c : {'"', '{', '}', '[', ']'}) stops[static_cast<unsigned char>(c)] = true;
  return stops;
}();

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void skip_spaces() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  bool accept(char wanted) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted)) fail(std::string("'") + wanted + "' expected");
  }

  void end() {
    skip_spaces();
    if (at_ != text_.size()) fail("something follows the value");
  }

  std::string_view string() {
    skip_spaces();
    const size_t begin = at_;
    if (begin == text_.size() || text_[begin] != '"') fail("a string expected");
    skip_string();
    return text_.substr(begin, at_ - begin);
  }

  std::string_view value() {
    skip_spaces();
    const size_t begin = at_;
    if (begin == text_.size()) fail("a value expected");
    if (text_[begin] == '"') {
      skip_string();
    } else if (text_[begin] == '{' || text_[begin] == '[') {
      skip_brackets();
    } else {
      at_ = text_.find_first_of(",} \n\r\t", begin);
      if (at_ == text_.npos) at_ = text_.size();
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  void skip_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\\') {
        ++at_;
      } else if (c == '"') {
        ++at_;
        return;
      }
    }
    fail("it ends within a string");
  }

  void skip_brackets() {
    size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (!kStructure[static_cast<unsigned char>(c)]) {
        ++at_;
      } else if (c == '"') {
        skip_string();
      } else {
        ++at_;
        depth += c == '{' || c == '[' ? 1 : size_t(-1);
        if (depth == 0) return;
      }
    }
    fail("it ends within an object");
  }

  [[noreturn]] void fail(const std::string& why) const {
    refuse("not valid JSON at byte " + std::to_string(at_) + ": " + why);
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::vector<std::pair<std::string, std::string_view>> json_members(std::string_view text) {
  Scanner scanner(text);
  std::vector<std::pair<std::string, std::string_view>> members;
  scanner.expect('{');
  if (!scanner.accept('}')) {
    do {
      std::string name = Json::parse(scanner.string()).string();
      scanner.expect(':');
      members.emplace_back(std::move(name), scanner.value());
    } while (scanner.accept(','));
    scanner.expect('}');
  }
  scanner.end();
  return members;
}

}  // namespace m3e
