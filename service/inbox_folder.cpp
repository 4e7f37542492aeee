#include "service/inbox_folder.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/fs_type.h"
#include "base/path.h"

namespace holdfast {

namespace {
constexpr int64_t kWaitingNs = kSecondNs;    // while something is not complete
constexpr int64_t kPollNs = 2 * kSecondNs;   // where nobody tells
constexpr int64_t kIdleNs = 60 * kSecondNs;  // in case the folder was mounted over, or made anew
constexpr size_t kToldMax = 1000;

// Asked through a descriptor of its own, as is whether it still is the file that was seen.
Writers writers_of(int dir_fd, const Dropped& file) {
  auto fd = open_beneath(dir_fd, file.name, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return Writers::kUnknown;
  auto st = statx_fd(fd->get());
  if (!st.ok() || !S_ISREG(st->mode)) return Writers::kUnknown;
  if (!same_state(dropped_of(file.name, *st), file)) return Writers::kSome;
  return ask_for_writers(fd->get());
}
}  // namespace

Dropped dropped_of(const std::string& name, const StatxResult& st) {
  return {name, st.dev, st.inode, st.size, st.mtime_ns, st.ctime_ns, st.uid, st.gid};
}

void InboxFolder::watch(int dir_fd, const StatxResult& st) {
  if (dev_ == st.dev && inode_ == st.inode) return;
  dev_ = st.dev;
  inode_ = st.inode;
  known_.clear();
  events_.reset();
  const auto traits = fs_traits_of(dir_fd);
  polled_ = traits.ok() && traits->network;
  if (polled_) return;
  Fd events(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  constexpr uint32_t kEvents =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR;
  const std::string path = "/proc/self/fd/" + std::to_string(dir_fd);
  if (events && ::inotify_add_watch(events.get(), path.c_str(), kEvents) >= 0) {
    events_ = std::move(events);
    return;
  }
  polled_ = true;
  log_.info("inbox " + display_path(config_.path) + ": inotify: " + std::strerror(errno) +
            "; it is looked at every two seconds");
}

void InboxFolder::take_events() {
  alignas(inotify_event) std::array<char, 16 * 1024> buffer{};
  for (;;) {
    const ssize_t got = ::read(events_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = buffer.data() + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
      if (event.len > 0 && (event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0) {
        closed_.insert(name);
      }
    }
  }
}

void InboxFolder::tell_once(const std::string& name, const std::string& why) {
  if (told_.size() >= kToldMax) told_.clear();
  if (!told_.insert(name).second) return;
  log_.warn("inbox " + display_path(config_.path) + ": " + display_path(name) + " " + why);
}

Result<std::map<std::string, Dropped>> InboxFolder::list(int dir_fd) {
  std::map<std::string, Dropped> files;
  TRY_ASSIGN(const std::vector<std::string> names, list_names(dir_fd));
  for (const std::string& name : names) {
    const NameRule rule = judge_name(name, config_.match);
    if (rule == NameRule::kNever) continue;
    auto st = statx_name(dir_fd, name);
    if (!st.ok() || S_ISDIR(st->mode)) continue;
    if (rule == NameRule::kNoMatch) {
      tell_once(name, "is not taken: it matches none of match = [...]");
    } else if (!S_ISREG(st->mode)) {
      tell_once(name, "is not taken: it is no regular file");
    } else {
      files.emplace(name, dropped_of(name, *st));
    }
  }
  return files;
}

Result<InboxFolder::Look> InboxFolder::look(int64_t now_ns) {
  auto opened = open_directory(config_.path);
  if (!opened.ok()) {
    inode_ = 0;
    events_.reset();
    return opened.error().in("looking into the inbox");
  }
  TRY_ASSIGN(const StatxResult st, statx_fd(opened->get()));
  watch(opened->get(), st);
  if (events_) take_events();
  const std::set<std::string> closed = std::exchange(closed_, {});
  TRY_ASSIGN(const auto files, list(opened->get()));
  for (auto at = known_.begin(); at != known_.end();) {
    at = files.contains(at->first) ? std::next(at) : known_.erase(at);
  }
  std::vector<Dropped> complete;
  Look look;
  for (const auto& [name, file] : files) {
    Known& known = known_.try_emplace(name, Known{{}, {}}).first->second;
    if (!same_state(known.seen, file)) {
      // Another file of the same name has to be closed itself; a change of the same one is told of
      // by the event of its close, or by the writers that are left.
      const bool same_file = known.seen.inode == file.inode && known.seen.dev == file.dev;
      known.watching = {now_ns, same_file && known.watching.closed};
      known.seen = file;
    }
    if (closed.contains(name)) known.watching.closed = true;
    look.waiting.push_back(name);
    const Writers writers = writers_of(opened->get(), file);
    if (is_complete(file, known.watching, writers, now_ns, config_.settle_ns)) {
      complete.push_back(file);
    }
  }
  const auto first = std::min_element(complete.begin(), complete.end(), taken_before);
  if (first != complete.end()) look.ready = *first;
  look.again_ns = !look.waiting.empty() ? kWaitingNs : polled_ ? kPollNs : kIdleNs;
  return look;
}

}  // namespace holdfast
