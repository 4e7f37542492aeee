// SeedWriter: puts one thing of an image into a volume: under a temporary name first, and under its
// own only where there still is what was decided upon. Nothing is opened through a symlink of the
// volume or above it. Thread-safe but for leftovers(); blocking.
#pragma once

#include <string>

#include "base/fs.h"
#include "service/seed_walk.h"

namespace holdfast {

struct SeedOwner {
  uint32_t mode = 0, uid = 0, gid = 0;
};

// One thing to be put in its place.
struct SeedJob {
  SeedItem* item = nullptr;
  SeedOwner owner;
  std::string link_to;  // a name of the same file that is there: another link to it
  std::string temporary;
  uint64_t inode = 0;  // of what has the temporary name
  uint64_t bytes = 0;  // written
  std::string warning;
  Status status;
};

class SeedWriter {
 public:
  // `dest` is what messages call the volume. The descriptors outlive it.
  SeedWriter(int source_fd, int dest_fd, std::string dest, bool stable_inodes);

  // Makes it under its temporary name, with everything but its place. Files are hashed meanwhile;
  // where the image's hash is known it must be that, else it is set.
  void prepare(SeedJob& job) const;
  // Gives it its name. kBusy: what is there is not what was decided upon, or is being written.
  void publish(SeedJob& job) const;
  void discard(const SeedJob& job) const;
  // A directory, at once; its times come with finish_dir(), when nothing is put into it any more.
  Status make_dir(const SeedItem& item, const SeedOwner& owner) const;
  Status finish_dir(const SeedItem& item, const SeedOwner& owner) const;
  Status set_dir(int top_fd, const std::string& path, const SeedItem& item,
                 const SeedOwner& owner) const;
  Status set_owner(const SeedItem& item, const SeedOwner& owner) const;
  // What is there must still be what was decided upon. False: a directory that is not empty.
  Result<bool> remove(const SeedItem& item) const;
  // Removes the temporary files of a run that was killed from the directory.
  void leftovers(const std::string& dir) const;
  Status sync() const;
  // An error in words that say what to do.
  Error explained(const std::string& path, const Error& error) const;

 private:
  std::string temporary_of(std::string_view name) const;
  Result<Fd> open_parent(const std::string& path, std::string& name) const;
  Status copy(int from, int to, SeedJob& job) const;
  Status prepare_file(int dir_fd, SeedJob& job) const;
  Status prepare_special(int dir_fd, SeedJob& job) const;
  Status prepare_link(int dir_fd, SeedJob& job) const;
  Status put_in_place(SeedJob& job) const;
  Status still_there(int dir_fd, const std::string& name, const SeedItem& item) const;

  const int source_fd_, dest_fd_;
  const std::string dest_;
  const bool stable_inodes_;
  std::string prefix_;
};

}  // namespace holdfast
