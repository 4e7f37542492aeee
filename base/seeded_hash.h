// A hash that is told to nobody: what is written by strangers cannot be made to have the same one,
// since they do not know the seed. For what lives no longer than the process. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast {

uint64_t seeded_hash(std::string_view bytes, uint64_t seed);  // XXH3-64; in hash.cpp

}  // namespace holdfast
