// The rules of the restore inbox (docs/inbox.md) as functions from values to values: which names
// are taken, when a file is complete, what the command becomes. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"

namespace holdfast {

// A file in the folder, as one look saw it.
struct Dropped {
  std::string name;
  uint64_t dev = 0, inode = 0, size = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;
  uint32_t uid = 0, gid = 0;
};
bool same_state(const Dropped& a, const Dropped& b);    // not moved, not written to
bool taken_before(const Dropped& a, const Dropped& b);  // which of two comes first

enum class NameRule : uint8_t { kTaken, kNoMatch, kNever };
NameRule judge_name(std::string_view name, const std::vector<std::string>& patterns);
// Where a pattern can only match names that are never taken.
bool is_never_taken(std::string_view name);

// What is known of a file from the looks and events before.
struct Watching {
  int64_t unchanged_since_ns = 0;  // boot clock
  bool closed = false;             // after writing, or it came by a rename, while we watched
};
bool is_complete(const Dropped& file, const Watching& known, Writers writers, int64_t now_ns,
                 int64_t settle_ns);

enum class Packing : uint8_t { kNone, kGzip, kZstd, kXz, kBzip2 };
Packing packing_of(std::string_view name);
std::string unpacked_name(std::string_view name);
const char* words_for_packing(Packing packing);  // "gzip"

bool uses_file(const std::vector<std::string>& command);  // {file} is in it
std::vector<std::string> filled_in(const std::vector<std::string>& command,
                                   const std::string& file);
// As a shell would read it back, for people.
std::string words_for_command(const std::vector<std::string>& command);

// NAME, or with a time in front: "20261121T140307Z-NAME", then "20261121T140307Z-2-NAME". Bounded
// to what a file name may be, with room for ".replaced" at its end.
std::string filed_name(const std::string& name, int64_t now_wall_ns, unsigned attempt);

// What a configuration or DOCKER_HOST says as the path of a socket: "unix:///run/docker.sock" or
// the path itself. kUsage: it is neither.
Result<std::string> docker_socket_of(const std::string& text);

}  // namespace holdfast
