// Numbers and commands as people read them. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast {

std::string words_for_duration(int64_t ns);        // "14 h 3 min", "2.5 s", "80 ms"
std::string words_for_bytes(uint64_t bytes);       // "1.2 MB", powers of 1000
std::string shell_quote(const std::string& word);  // as one word of a shell

}  // namespace holdfast
