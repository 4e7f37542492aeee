// InboxReplace: a checked SQLite database takes the place of another one (docs/inbox.md). Every
// step is taken through the open directory. Blocking; one thread.
#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/fs.h"
#include "base/result.h"
#include "service/state.h"

namespace holdfast {

class InboxReplace {
 public:
  // kUsage: the path is a link, or no regular file.
  static Result<InboxReplace> open(const std::string& path, const std::string& job_id);

  bool is_there() const { return old_.has_value(); }
  // kBusy: a program has the old one open for writing.
  Status require_unused() const;
  // Whether the journal's newest version of the path is exactly what is there, so that a restore
  // brings it back. Call after a flush.
  Result<bool> is_in_journal(State& state) const;
  // Copies the old one, and what stands beside it, to NAME.replaced in the open directory.
  Status keep_old(int dir_fd, const std::string& name) const;
  // Writes the new one beside the old one: with its owner, mode and attributes, durable, and the
  // bytes verified. What it will be, once it is in place.
  Result<StatxResult> write_new(const std::string& from, const std::string& hash_hex) const;
  // The new one takes the place of the old one, of which nothing stays beside it; durable.
  Status put() const;

 private:
  InboxReplace() = default;
  Status give_attributes(int fd) const;
  std::string path_;  // absolute, of the directory as it really is
  std::string name_, temporary_;
  Fd dir_;
  std::optional<StatxResult> old_;
};

bool is_replaced(const std::string& path, uint64_t dev, uint64_t inode);
void remove_replacement_leftovers(const std::string& path, const std::string& job_id);

}  // namespace holdfast
