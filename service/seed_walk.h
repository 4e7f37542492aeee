// SeedWalk: what the image has, and what is in the volume under the same paths. Reads only; nothing
// is followed out of either directory, and in the volume no symlink at all. Blocking; each call
// spreads its work over a few threads.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fs.h"
#include "base/ignore.h"
#include "service/seed_manifest.h"

namespace holdfast {

inline constexpr size_t kSeedThreads = 2;
// A ctime of before that is moved by any change.
inline constexpr int64_t kSettledNs = 2 * kSecondNs;

// What an image, or a volume, has at a path.
struct SeedStat {
  FileType type = FileType::kFile;
  uint32_t mode = 0, uid = 0, gid = 0, nlink = 1;  // mode without type bits
  uint64_t rdev = 0, size = 0, inode = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;
  bool operator==(const SeedStat&) const = default;
};
SeedStat seed_stat_of(const StatxResult& st);
// Whether it is the file that it was: of files, everything that moves when the content does.
bool same_seed_file(const SeedStat& a, const SeedStat& b, bool stable_inodes);

struct SeedItem {
  std::string path;  // relative to both directories
  std::optional<SeedStat> image, volume;
  std::string image_link, volume_link;  // targets of symlinks
  std::optional<SeedValue> image_value, volume_value;
  std::optional<SeedReading> reading;  // of the image's file, worth remembering
  std::optional<Error> failed;         // cannot be told what is there
  bool blocked = false;                // what is above it in the volume is no directory of its own
};

class SeedWalk {
 public:
  // Both outlive it.
  SeedWalk(int source_fd, int dest_fd) : source_fd_(source_fd), dest_fd_(dest_fd) {}

  // Everything below the source that is not excluded, in byte order of the paths.
  Result<std::vector<SeedItem>> image(const IgnoreRules& excludes,
                                      const std::function<bool()>& cancelled) const;
  // Sets `volume`, `volume_link`, `blocked`, and the values of all but regular files.
  // `item(i)` is the i-th of them, in byte order of their paths.
  using ItemAt = std::function<SeedItem*(size_t)>;
  void look(size_t count, const ItemAt& item) const;
  // Reads the files of the image among these, and sets their values and readings.
  void read_image(const std::vector<SeedItem*>& items,
                  const std::function<bool()>& cancelled) const;
  // Reads the files of the volume among these.
  void read_volume(const std::vector<SeedItem*>& items,
                   const std::function<bool()>& cancelled) const;

 private:
  Status walk(const std::string& dir, const IgnoreRules& excludes,
              const std::function<bool()>& cancelled, std::vector<SeedItem>& items) const;
  void look_at(size_t first, size_t last, const ItemAt& item_at, uint64_t mount_id) const;
  const int source_fd_, dest_fd_;
};

// The hash of a regular file below `top_fd`. kChanged: it moved while it was read.
Result<ContentHash> hash_beneath(int top_fd, const std::string& path, SeedStat& stat);

}  // namespace holdfast
