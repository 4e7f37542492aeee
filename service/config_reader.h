// ConfigSection: typed reading of one table of a configuration file, with complaints that a person
// can act on. Nothing but config.cpp and this pair knows of toml++.
//
// A section is a view: the parsed document must outlive it. A getter gives nullopt (or an empty
// list) where the key is absent, and an Error where the value is not what it has to be.
#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace holdfast {

class ConfigSection {
 public:
  // `title` is how the file writes it: "[scrub]", "[[watch]]"; empty for the top level.
  ConfigSection(const toml::table& table, std::string title, const std::string& file);

  // An error for the first key that is not in `known`.
  Status allow_only(std::initializer_list<std::string_view> known) const;

  Result<std::optional<std::string>> text(std::string_view key) const;  // not empty, without NUL
  Result<std::string> required_text(std::string_view key, std::string_view example) const;
  Result<std::vector<std::string>> texts(std::string_view key) const;  // each not empty
  Result<std::vector<std::string>> required_texts(std::string_view key,
                                                  std::string_view example) const;
  Result<std::optional<uint32_t>> count(std::string_view key) const;       // up to a million
  Result<std::optional<int64_t>> duration_ns(std::string_view key) const;  // "48h", more than zero
  Result<std::optional<uint64_t>> size_bytes(std::string_view key) const;  // "1GB"
  Result<std::optional<uint64_t>> rate_bytes(std::string_view key) const;  // "50MB/s"
  Result<std::string> required_absolute_path(std::string_view key) const;  // no trailing slash

  bool has(std::string_view key) const { return table_.contains(key); }
  // The tables below `key`: of [key], one at most; of [[key]], any number.
  Result<std::optional<ConfigSection>> section(std::string_view key) const;
  Result<std::vector<ConfigSection>> sections(std::string_view key) const;

  unsigned line() const;  // where the section starts
  unsigned line_of(std::string_view key) const;
  // "<file>:<line>: <key> in <title> <problem>", at the line of `key`, or of the section without
  // it.
  Error complain(std::string_view key, const std::string& problem) const;

 private:
  const toml::node* find(std::string_view key) const { return table_.get(key); }
  Error wrong_type(std::string_view key, const std::string& wanted) const;

  const toml::table& table_;
  std::string title_;
  const std::string& file_;
};

// "50MB", "1.5 GiB", "4096": kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of 1024.
std::optional<uint64_t> parse_size_bytes(std::string_view text);
// The one of `known` that `word` is most likely a slip of; empty where none is near.
std::string_view nearest_word(std::string_view word, std::initializer_list<std::string_view> known);

}  // namespace holdfast
