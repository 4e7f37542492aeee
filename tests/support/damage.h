// Damage as tests make it, and what the program says and does about it.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/holdfast_run.h"

namespace holdfast {

inline void flip_byte(const std::string& path, uint64_t at) {
  std::string bytes = read_file(path);
  bytes.at(at) = static_cast<char>(bytes[at] ^ 0x40);
  write_file(path, bytes);
}

inline void require_damage_found(const Holdfast& holdfast) {
  const Outcome check = holdfast.run({"check", "--read-data"});
  INFO(check.out << check.err);
  REQUIRE(check.exit_code == 3);
}

// What `repair --json` says in the end.
inline TestJson repair(const Holdfast& holdfast, int expected) {
  const Outcome outcome = holdfast.run({"repair", "--json"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == expected);
  return parse_lines(outcome.out).back();
}

// The state is sound, its last moment whole, and a journal made anew from the packs is as sound.
inline void require_saved(const Holdfast& holdfast, const WorkDir& work, uint64_t last,
                          const Tree& last_tree) {
  holdfast.require_clean(true);
  holdfast.require_restores(work, last, last_tree);
  holdfast.text({"rebuild"});
  holdfast.require_clean(true);
}

}  // namespace holdfast
