// The members of a JSON object as text, without a value in memory for each: some are large.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace m3e {

// Names and texts of the members, in their order. Only the object itself is checked, not what its
// members are made of. Throws Error(format).
std::vector<std::pair<std::string, std::string_view>> json_members(std::string_view text);

}  // namespace m3e
