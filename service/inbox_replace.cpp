#include "service/inbox_replace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <functional>
#include <vector>

#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"
#include "service/query.h"

namespace holdfast {

namespace {
constexpr std::array<const char*, 3> kSidecars{"-wal", "-shm", "-journal"};
constexpr std::array<const char*, 2> kSidecarsWithContent{"-wal", "-journal"};
constexpr size_t kReplaceBytes = 1 << 20;

std::string temporary_of(const std::string& job_id) { return ".holdfast-tmp-inbox-" + job_id; }

Result<ContentHash> for_each_block(int fd, const std::function<Status(std::string_view)>& visit) {
  std::vector<char> buffer(kReplaceBytes);
  ContentHasher hasher;
  for (uint64_t at = 0;;) {
    TRY_ASSIGN(const size_t got, pread_full(fd, buffer.data(), buffer.size(), at));
    const std::string_view bytes(buffer.data(), got);
    hasher.update(bytes);
    TRY(visit(bytes));
    at += got;
    if (got < buffer.size()) return hasher.finish();
  }
}

Status copy_file(int from_dir, const std::string& from, int to_dir, const std::string& to) {
  TRY_ASSIGN(const Fd in, open_beneath(from_dir, from, O_RDONLY | O_NONBLOCK));
  TRY_ASSIGN(const Fd out, open_beneath(to_dir, to, O_WRONLY | O_CREAT | O_EXCL, 0600));
  const auto append = [&](std::string_view bytes) { return write_full(out.get(), bytes); };
  TRY(for_each_block(in.get(), append));
  if (::fsync(out.get()) != 0) return errno_error(errno, "syncing " + display_path(to));
  return {};
}
}  // namespace

Result<InboxReplace> InboxReplace::open(const std::string& path, const std::string& job_id) {
  const auto [parent, name] = split_last(path);
  char resolved[PATH_MAX];
  const std::string directory(parent);
  if (::realpath(directory.c_str(), resolved) == nullptr) {
    return errno_error(errno, "opening " + display_path(directory));
  }
  InboxReplace replace;
  replace.name_ = name;
  replace.path_ = join_path(resolved, name);
  replace.temporary_ = temporary_of(job_id);
  TRY_ASSIGN(replace.dir_, open_directory(resolved));
  auto st = statx_name(replace.dir_.get(), replace.name_);
  if (!st.ok() && st.error().code != ErrorCode::kNotFound) return st.error();
  if (st.ok() && !S_ISREG(st->mode)) {
    return make_error(ErrorCode::kUsage, display_path(path) +
                                             " is no regular file, so it is not replaced; let "
                                             "replace name the database itself");
  }
  if (st.ok()) replace.old_ = *st;
  return replace;
}

Status InboxReplace::require_unused() const {
  if (!old_) return {};
  TRY_ASSIGN(const Fd fd, open_beneath(dir_.get(), name_, O_RDONLY | O_NONBLOCK));
  if (ask_for_writers(fd.get()) != Writers::kSome) return {};
  return make_error(ErrorCode::kBusy,
                    "a program has " + display_path(path_) +
                        " open for writing, and would go on with the old one; let stop name its "
                        "container, or stop it before");
}

Result<bool> InboxReplace::is_in_journal(State& state) const {
  if (!old_) return true;
  for (const char* ending : kSidecarsWithContent) {
    const auto beside = statx_name(dir_.get(), name_ + ending);
    if (beside.ok() && beside->size > 0) return false;  // the file alone is not all of it
  }
  TRY_ASSIGN(auto txn, state.env->begin_read());
  Query query(state, *txn);
  const auto at = query.path(path_, "/");
  if (!at.ok()) return false;
  const auto now = query.moment("", 0);
  if (!now.ok()) return false;
  const auto found = state.journal->locate(*txn, at->root.node, at->relative, now->seq);
  if (!found.ok()) return false;
  TRY_ASSIGN(const auto version, state.journal->version(*txn, found->node, now->seq));
  if (!version || !version->content.stored()) return false;
  TRY_ASSIGN(const Fd fd, open_beneath(dir_.get(), name_, O_RDONLY | O_NONBLOCK));
  const auto nothing = [](std::string_view) { return Status(); };
  TRY_ASSIGN(const ContentHash hash, for_each_block(fd.get(), nothing));
  return hash == version->hash;
}

Status InboxReplace::keep_old(int dir_fd, const std::string& name) const {
  const auto keep = [&](const std::string& from, const std::string& to) -> Status {
    auto kept = copy_file(dir_.get(), from, dir_fd, to);
    return kept.ok() ? Status() : kept.error().in("keeping " + display_path(path_));
  };
  TRY(keep(name_, name));
  for (const char* ending : kSidecarsWithContent) {
    if (!statx_name(dir_.get(), name_ + ending).ok()) continue;
    TRY(keep(name_ + ending, name + ending));
  }
  if (::fsync(dir_fd) != 0) return errno_error(errno, "syncing what is kept of the database");
  return {};
}

// Where there is no old one, the new one is its directory's owner's.
Status InboxReplace::give_attributes(int fd) const {
  constexpr uint32_t kUsualMode = 0640;
  TRY_ASSIGN(const StatxResult directory, statx_fd(dir_.get()));
  const StatxResult& like = old_ ? *old_ : directory;
  if (::fchown(fd, like.uid, like.gid) != 0 && ::geteuid() == 0) {
    return errno_error(errno, "giving the new database its owner");
  }
  if (::fchmod(fd, old_ ? like.mode & kModeBits : kUsualMode) != 0) {
    return errno_error(errno, "giving the new database its mode");
  }
  if (!old_) return {};
  TRY_ASSIGN(const Fd old_fd, open_beneath(dir_.get(), name_, O_RDONLY | O_NONBLOCK));
  TRY_ASSIGN(const XattrList xattrs, read_xattrs(old_fd.get()));
  for (const auto& [key, value] : xattrs) {
    if (::fsetxattr(fd, key.c_str(), value.data(), value.size(), 0) != 0 && errno != ENOTSUP &&
        errno != EPERM) {
      return errno_error(errno, "giving the new database the attribute " + key);
    }
  }
  return {};
}

Result<StatxResult> InboxReplace::write_new(const std::string& from,
                                            const std::string& hash_hex) const {
  const std::string what = "writing the new database beside " + display_path(path_);
  const Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!in) return errno_error(errno, what);
  ::unlinkat(dir_.get(), temporary_.c_str(), 0);
  auto out = open_beneath(dir_.get(), temporary_, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!out.ok()) return out.error().in(what);
  const auto append = [&](std::string_view bytes) { return write_full(out->get(), bytes); };
  const auto hash = for_each_block(in.get(), append);
  if (!hash.ok()) return hash.error().in(what);
  if (to_hex(hash->bytes.data(), hash->bytes.size()) != hash_hex) {
    return make_error(ErrorCode::kDamaged, what + ": it is not what was checked any more");
  }
  TRY(give_attributes(out->get()));
  if (::fsync(out->get()) != 0) return errno_error(errno, what);
  return statx_fd(out->get());
}

// What belongs to the old one goes first: beside the new one SQLite would play it into that.
Status InboxReplace::put() const {
  const std::string what = "replacing " + display_path(path_);
  for (const char* ending : kSidecars) {
    if (::unlinkat(dir_.get(), (name_ + ending).c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error(errno, what + ": removing its " + ending);
    }
  }
  if (::fsync(dir_.get()) != 0) return errno_error(errno, what);
  if (::renameat(dir_.get(), temporary_.c_str(), dir_.get(), name_.c_str()) != 0) {
    return errno_error(errno, what);
  }
  if (::fsync(dir_.get()) != 0) return errno_error(errno, what);
  return {};
}

bool is_replaced(const std::string& path, uint64_t dev, uint64_t inode) {
  auto dir = open_directory(std::string(split_last(path).first));
  if (!dir.ok() || inode == 0) return false;
  const auto st = statx_name(dir->get(), std::string(split_last(path).second));
  return st.ok() && st->dev == dev && st->inode == inode;
}

void remove_replacement_leftovers(const std::string& path, const std::string& job_id) {
  auto dir = open_directory(std::string(split_last(path).first));
  if (dir.ok()) ::unlinkat(dir->get(), temporary_of(job_id).c_str(), 0);
}

}  // namespace holdfast
