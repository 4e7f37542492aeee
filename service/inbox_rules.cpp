#include "service/inbox_rules.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <tuple>

#include "base/path.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr std::string_view kFile = "{file}";
constexpr size_t kDroppedNameBytesMax = 255 - 9;  // and ".replaced"

struct PackingName {
  std::string_view ending;
  Packing packing;
  const char* words;
};
constexpr std::array<PackingName, 4> kPackings{{{".gz", Packing::kGzip, "gzip"},
                                                {".zst", Packing::kZstd, "zstd"},
                                                {".xz", Packing::kXz, "xz"},
                                                {".bz2", Packing::kBzip2, "bzip2"}}};

const PackingName* packing_entry(std::string_view name) {
  for (const PackingName& entry : kPackings) {
    if (name.size() > entry.ending.size() && name.ends_with(entry.ending)) return &entry;
  }
  return nullptr;
}
}  // namespace

bool same_state(const Dropped& a, const Dropped& b) {
  return std::tie(a.dev, a.inode, a.size, a.mtime_ns, a.ctime_ns) ==
         std::tie(b.dev, b.inode, b.size, b.mtime_ns, b.ctime_ns);
}

bool taken_before(const Dropped& a, const Dropped& b) {
  return std::tie(a.mtime_ns, a.name) < std::tie(b.mtime_ns, b.name);
}

bool is_never_taken(std::string_view name) {
  constexpr std::array<std::string_view, 4> kUnfinished{".part", ".tmp", ".filepart",
                                                        ".crdownload"};
  return name.starts_with('.') ||
         std::any_of(kUnfinished.begin(), kUnfinished.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

NameRule judge_name(std::string_view name, const std::vector<std::string>& patterns) {
  if (is_never_taken(name)) return NameRule::kNever;
  const std::string text(name);
  const bool matches = std::any_of(
      patterns.begin(), patterns.end(),
      [&](const std::string& pattern) { return ::fnmatch(pattern.c_str(), text.c_str(), 0) == 0; });
  return matches ? NameRule::kTaken : NameRule::kNoMatch;
}

bool is_complete(const Dropped& file, const Watching& known, Writers writers, int64_t now_ns,
                 int64_t settle_ns) {
  if (writers == Writers::kSome) return false;
  if (known.closed && writers == Writers::kNone && file.size > 0) return true;
  return now_ns - known.unchanged_since_ns >= settle_ns;
}

Packing packing_of(std::string_view name) {
  const PackingName* entry = packing_entry(name);
  return entry != nullptr ? entry->packing : Packing::kNone;
}

std::string unpacked_name(std::string_view name) {
  const PackingName* entry = packing_entry(name);
  return std::string(entry != nullptr ? name.substr(0, name.size() - entry->ending.size()) : name);
}

const char* words_for_packing(Packing packing) {
  for (const PackingName& entry : kPackings) {
    if (entry.packing == packing) return entry.words;
  }
  return "not packed";
}

bool uses_file(const std::vector<std::string>& command) {
  return std::any_of(command.begin(), command.end(), [](const std::string& argument) {
    return argument.find(kFile) != std::string::npos;
  });
}

std::vector<std::string> filled_in(const std::vector<std::string>& command,
                                   const std::string& file) {
  std::vector<std::string> filled;
  for (const std::string& argument : command) {
    std::string& text = filled.emplace_back();
    size_t from = 0;  // what is put in is not looked through: it may contain "{file}" itself
    for (size_t at = argument.find(kFile); at != std::string::npos;
         at = argument.find(kFile, from)) {
      text += argument.substr(from, at - from) + file;
      from = at + kFile.size();
    }
    text += argument.substr(from);
  }
  return filled;
}

std::string words_for_command(const std::vector<std::string>& command) {
  std::string words;
  for (const std::string& argument : command) {
    words += (words.empty() ? "" : " ") + shell_quote(argument);
  }
  return words;
}

std::string filed_name(const std::string& name, int64_t now_wall_ns, unsigned attempt) {
  if (attempt == 0 && name.size() <= kDroppedNameBytesMax) return name;
  const auto seconds = static_cast<time_t>(now_wall_ns / 1'000'000'000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char time[32];
  std::strftime(time, sizeof time, "%Y%m%dT%H%M%SZ-", &parts);
  const std::string filed =
      time + (attempt > 1 ? std::to_string(attempt) + "-" : std::string()) + name;
  return filed.substr(0, kDroppedNameBytesMax);
}

Result<std::string> docker_socket_of(const std::string& text) {
  constexpr std::string_view kScheme = "unix://";
  std::string path = text.starts_with(kScheme) ? text.substr(kScheme.size()) : text;
  if (path.starts_with("/")) return path;
  return make_error(ErrorCode::kUsage,
                    "is \"" + display_path(text) +
                        "\"; it has to be the API's Unix socket, like \"/var/run/docker.sock\" or "
                        "\"unix:///run/podman/podman.sock\"");
}

}  // namespace holdfast
