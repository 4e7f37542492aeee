// Config: what holdfast.toml says, checked. Values only; a pure parse, no I/O, any thread.
//
// The file is written by a person, so every complaint names the file, the line and the fix: an
// unknown key (with the nearest known one), a wrong type, a value out of range. What the file
// system knows (whether a directory exists) is checked by the caller, who has `line` to name the
// place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/space_policy.h"

namespace holdfast {

struct WatchConfig {
  std::string name;                  // [A-Za-z0-9._-]+, unique; the last part of `path` by default
  std::string path;                  // absolute, without a trailing slash
  std::vector<std::string> exclude;  // gitignore patterns
  unsigned line = 0;                 // of this [[watch]]
};

struct RetentionConfig {
  std::optional<int64_t> all_ns;  // every version for that long
  std::optional<uint32_t> hourly, daily, weekly, monthly, last;
};

struct ScrubConfig {
  std::optional<int64_t> every_ns;
  std::optional<uint64_t> rate_bytes;  // a second
};

struct AlertsConfig {
  std::optional<double> free_below_percent;  // at most one of these two
  std::optional<uint64_t> free_below_bytes;
  std::optional<uint64_t> file_above_bytes;
  std::string webhook;               // http:// or https://; may hold a secret
  std::vector<std::string> command;  // empty: none
  bool operator==(const AlertsConfig&) const = default;
};
bool is_webhook(std::string_view text);  // may be one

struct HttpConfig {
  std::string host;  // a name or an address, without the brackets of IPv6
  uint16_t port = 0;
};

// "127.0.0.1:7474", "[::1]:7474", "localhost:7474".
std::optional<HttpConfig> parse_listen(std::string_view text);
std::string words_for(const HttpConfig& listen);  // as it is parsed

// A share of a disk, or a size; at most one of them.
struct FreeBelow {
  std::optional<double> percent;
  std::optional<uint64_t> bytes;
};

struct HealthConfig {
  std::optional<int64_t> max_age_ns;
  FreeBelow free_below;
};

struct DumpConfig {
  std::string name;
  std::vector<std::string> command;
  int64_t every_ns = 0;
  int64_t timeout_ns = 3'600'000'000'000;
  uint32_t shrink_percent = 50;  // less than this share of the last good one is no good one; 0: off
  std::string restore;           // a shell command that takes the content; "": not said
  bool operator==(const DumpConfig&) const = default;
};

struct SnapshotConfig {
  std::vector<std::string> pre, post;  // commands around a snapshot; empty: none
  int64_t hook_timeout_ns = 60'000'000'000;
  uint32_t keep = 24;  // of those that the service takes by its schedule
  bool operator==(const SnapshotConfig&) const = default;
};

struct InboxConfig {
  std::string path;
  std::vector<std::string> match;    // globs of file names
  std::vector<std::string> stop;     // containers to stop while a dump is restored
  std::vector<std::string> restore;  // empty: `replace` is not
  std::string replace;               // a SQLite database
  std::string docker;                // the API's socket; empty: not set
  std::vector<DumpConfig> dumps;     // that are made before a restore, as a part of the way back
  int64_t timeout_ns = 3'600'000'000'000;
  int64_t stop_timeout_ns = 30'000'000'000;
  int64_t settle_ns = 5'000'000'000;
  unsigned line = 0;  // of this [[inbox]]
  bool operator==(const InboxConfig&) const = default;
};

struct Config {
  std::string state;  // empty: not set
  std::vector<WatchConfig> watches;
  std::optional<int64_t> snapshot_every_ns;
  SnapshotConfig snapshot;
  std::optional<RetentionConfig> retention;
  std::optional<ScrubConfig> scrub;
  std::optional<AlertsConfig> alerts;
  std::optional<HttpConfig> http;
  std::optional<HealthConfig> health;
  SpaceLimits store;
  std::vector<DumpConfig> dumps;
  std::vector<InboxConfig> inboxes;
};

std::optional<uint64_t> parse_rate_bytes(std::string_view text);  // "50MB/s"; more than nothing
// "50GB"; "0" is none. kUsage: neither.
Status read_quota(std::string_view text, SpaceLimits& limits);
// "5%", "10GB"; "0" is none. kUsage: neither.
Status read_reserve(std::string_view text, SpaceLimits& limits);

// `file_name` is only for messages. Every error is kUsage and starts with "<file>:<line>: ".
Result<Config> parse_config(std::string_view text, const std::string& file_name);

}  // namespace holdfast
