#include "service/inbox_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/fs.h"
#include "base/path.h"

namespace holdfast {

namespace {
constexpr uint32_t kDirMode = 0755, kLogMode = 0640;
constexpr unsigned kAttemptsMax = 10'000;

bool is_that_file(const Result<StatxResult>& st, const InboxJob& job) {
  return st.ok() && S_ISREG(st->mode) && st->dev == job.dev && st->inode == job.inode;
}

bool is_there(int dir_fd, const std::string& name) {
  const auto st = statx_name(dir_fd, name);
  return st.ok() || st.error().code != ErrorCode::kNotFound;
}

Status write_log(int dir_fd, const InboxJob& job, const std::string& log) {
  const std::string name = job.filed_as + kInboxLog;
  const std::string temporary = ".holdfast-tmp-" + job.id;
  ::unlinkat(dir_fd, temporary.c_str(), 0);
  auto fd = open_beneath(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL, kLogMode);
  if (!fd.ok()) return fd.error().in("writing the log " + display_path(name));
  const auto written = write_full(fd->get(), log);
  if (!written.ok()) return written.error().in("writing the log " + display_path(name));
  ::fchmod(fd->get(), kLogMode);
  if (::geteuid() == 0 && ::fchown(fd->get(), job.uid, job.gid) != 0) {
    // A file system that keeps no owners: then who may read the folder may read the log.
  }
  if (::fsync(fd->get()) != 0) return errno_error(errno, "syncing the log " + display_path(name));
  if (::renameat(dir_fd, temporary.c_str(), dir_fd, name.c_str()) != 0) {
    return errno_error(errno, "naming the log " + display_path(name));
  }
  return {};
}
}  // namespace

Result<Fd> open_filing_dir(const std::string& inbox, const std::string& which) {
  TRY_ASSIGN(const Fd folder, open_directory(inbox));
  if (::mkdirat(folder.get(), which.c_str(), kDirMode) != 0 && errno != EEXIST) {
    return errno_error(errno, "making " + display_path(join_path(inbox, which)));
  }
  auto dir = open_beneath(folder.get(), which, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return dir.error().in("opening " + display_path(join_path(inbox, which)));
  return dir;
}

Result<std::string> free_filed_name(const std::string& inbox, const std::string& name,
                                    int64_t now_wall_ns) {
  TRY_ASSIGN(const Fd done, open_filing_dir(inbox, kInboxDone));
  TRY_ASSIGN(const Fd failed, open_filing_dir(inbox, kInboxFailed));
  for (unsigned attempt = 0; attempt < kAttemptsMax; ++attempt) {
    std::string candidate = filed_name(name, now_wall_ns, attempt);
    bool taken = false;
    for (const char* ending : {"", kInboxLog, kInboxReplaced}) {
      taken = taken || is_there(done.get(), candidate + ending) ||
              is_there(failed.get(), candidate + ending);
    }
    if (!taken) return candidate;
  }
  return make_error(ErrorCode::kExists, "done/ and failed/ of " + display_path(inbox) +
                                            " have every name that was tried for " +
                                            display_path(name) + "; clear them up");
}

Status file_job(const InboxJob& job, const std::string& which, const std::string& log) {
  TRY_ASSIGN(const Fd dir, open_filing_dir(job.inbox, which));
  TRY_ASSIGN(const Fd folder, open_directory(job.inbox));
  const bool here = is_that_file(statx_name(folder.get(), job.name), job);
  const bool moved = is_that_file(statx_name(dir.get(), job.filed_as), job);
  const std::string gone = here || moved ? "" : "the dropped file is not there any more\n";
  TRY(write_log(dir.get(), job, log + gone));
  const auto move = [&](unsigned flags) {
    return ::renameat2(folder.get(), job.name.c_str(), dir.get(), job.filed_as.c_str(), flags) == 0;
  };
  // Not every file system can refuse to replace; the name was free a moment ago.
  if (here && !move(RENAME_NOREPLACE) && !(errno == EINVAL && move(0))) {
    return errno_error(errno, "moving " + display_path(join_path(job.inbox, job.name)) + " to " +
                                  which + "/" + display_path(job.filed_as));
  }
  for (const Fd* changed : {&dir, &folder}) {
    if (::fsync(changed->get()) != 0) return errno_error(errno, "syncing " + job.inbox);
  }
  return {};
}

std::vector<std::string> failed_files(const std::string& inbox) {
  std::vector<std::string> files;
  auto folder = open_directory(inbox);
  if (!folder.ok()) return files;
  auto dir = open_beneath(folder->get(), kInboxFailed, O_RDONLY | O_DIRECTORY);
  if (!dir.ok()) return files;
  auto names = list_names(dir->get());
  if (!names.ok()) return files;
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    // A dropped file may be called so itself; then it has a log of its own.
    const bool is_log = name.ends_with(kInboxLog) &&
                        !std::binary_search(names->begin(), names->end(), name + kInboxLog);
    const auto st = statx_name(dir->get(), name);
    if (!name.starts_with('.') && !is_log && st.ok() && S_ISREG(st->mode)) files.push_back(name);
  }
  return files;
}

}  // namespace holdfast
