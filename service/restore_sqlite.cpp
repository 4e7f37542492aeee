// Restoring SQLite databases: what a database shows, and not only its own bytes, has to be that of
// the moment; docs/sqlite.md.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/open_files.h"
#include "base/path.h"
#include "service/restore_write.h"
#include "service/restorer.h"
#include "service/sqlite_view.h"

namespace holdfast {

namespace {

constexpr const char* kSidecarEndings[] = {"-wal", "-journal", "-shm"};
constexpr size_t kOpenersToldMax = 5;

bool is_regular(int dir_fd, const std::string& name) {
  const auto there = statx_name(dir_fd, name);
  return there.ok() && S_ISREG(there->mode);
}

}  // namespace

// What a database with a log or journal beside it shows; nullopt: the name leads to none.
Result<std::optional<bool>> Restorer::shows_content(int dir_fd, const std::string& name,
                                                    const Record& version) {
  const bool beside = is_regular(dir_fd, name + "-wal") || is_regular(dir_fd, name + "-journal");
  if (!beside || !is_sqlite_database(dir_fd, name)) return std::optional<bool>();
  TRY_ASSIGN(const FsTraits fs, fs_traits_of(dir_fd));
  auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return std::optional<bool>();
  TRY_ASSIGN(const auto hash, hash_of_sqlite_view(dir_fd, name, fd->get(), fs, false));
  return std::optional(hash && *hash == version.hash);
}

// Before a database gets its name: a log or journal that is left there would be taken for its own
// and put into it. Whatever of that belongs to the moment itself is restored as a file.
Status Restorer::make_way_for_database(int dir_fd, const Rename& rename) {
  if (!is_sqlite_database(dir_fd, rename.temporary)) return {};
  const std::string path = join_path(rename.dir_path, rename.name);
  std::string openers;
  const auto open_in = who_has_open(dir_fd, rename.name);
  for (size_t i = 0; i < open_in.size() && i < kOpenersToldMax; ++i) {
    openers += (i > 0 ? ", " : "") + std::to_string(open_in[i].pid) + " (" +
               display_path(open_in[i].command) + ")";
  }
  if (open_in.size() > kOpenersToldMax) openers += " and others";
  if (!openers.empty()) {
    result_.warnings.push_back(path + " is still open in " + openers +
                               ", which goes on with the database of before and loses what it "
                               "writes there; restart it");
  }
  for (const char* ending : kSidecarEndings) {
    const std::string beside = rename.name + ending;
    if (!is_regular(dir_fd, beside)) continue;
    if (state_.journal->locate(*txn_, job_.root, path + ending, at_).ok()) continue;
    if (::unlinkat(dir_fd, beside.c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error(errno, "removing " + display_path(beside) +
                                    ", which would be put into the restored database");
    }
  }
  return {};
}

}  // namespace holdfast
