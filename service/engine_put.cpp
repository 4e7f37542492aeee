// Contents that programs give, in roots without a directory (service/content_writer.h). All of it
// on the engine's thread.
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

namespace {

constexpr uint32_t kGivenFileMode = S_IFREG | 0600;
constexpr uint32_t kGivenDirMode = S_IFDIR | 0700;

std::vector<std::string> components_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    parts.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return parts;
}

FileStat stat_of_given(uint32_t mode, uint64_t size, int64_t now_ns) {
  FileStat stat;
  stat.mode = mode;
  stat.uid = ::geteuid();
  stat.gid = ::getegid();
  stat.size = size;
  stat.mtime_ns = stat.ctime_ns = stat.btime_ns = now_ns;
  return stat;
}

}  // namespace

// Where a content goes, as far as it is there.
struct Engine::PutTarget {
  NodeId root, dir;                  // 0: to be made; dir is the deepest that is there
  std::vector<std::string> missing;  // directories below it
  std::string name;
  NodeId node;  // what the name leads to; 0: nothing
};

Result<Engine::PutTarget> Engine::put_target(const std::string& root_name,
                                             const std::string& path) {
  TRY_ASSIGN(WriteTxn * open, txn());
  PutTarget target;
  TRY_ASSIGN(const auto roots, state_.journal->roots(*open));
  for (const Root& root : roots) {
    if (root.name != root_name) continue;
    if (!root.is_virtual()) {
      return make_error(ErrorCode::kUsage,
                        root_name + " is the watched directory " + display_path(root.path) +
                            ", and what a program gives has no place in it; choose another name "
                            "before the colon");
    }
    target.root = target.dir = root.node;
  }
  std::vector<std::string> parts = components_of(path);
  target.name = parts.back();
  parts.pop_back();
  size_t there = 0;
  for (; target.root.value != 0 && there < parts.size(); ++there) {
    TRY_ASSIGN(const auto entry, state_.journal->entry(*open, target.dir, parts[there], kHead));
    if (!entry) break;
    if (entry->type != FileType::kDir) {
      return make_error(ErrorCode::kExists, display_path(root_name + ":" + path) +
                                                " cannot be below " + display_path(parts[there]) +
                                                ", which is no directory");
    }
    target.dir = entry->node;
  }
  target.missing.assign(parts.begin() + static_cast<ptrdiff_t>(there), parts.end());
  if (target.root.value == 0 || !target.missing.empty()) return target;
  TRY_ASSIGN(const auto entry, state_.journal->entry(*open, target.dir, target.name, kHead));
  if (entry && entry->type != FileType::kFile) {
    return make_error(ErrorCode::kExists,
                      display_path(root_name + ":" + path) + " is a directory, not a content");
  }
  if (entry) target.node = entry->node;
  return target;
}

Result<PutTicket> Engine::begin_put(const std::string& root, const std::string& path) {
  if (stall_) return *stall_;
  TRY(check_keeping());
  for (const auto& [id, put] : puts_) {
    const bool same = put.path == path || put.path.empty();
    if (put.root == root && same && put.generation == generation_) {
      return make_error(ErrorCode::kBusy, display_path(root + ":" + path) +
                                              " is being written by another program right now; "
                                              "try again when that is done");
    }
  }
  // What would refuse it at the end is told before anything is sent.
  if (auto target = put_target(root, path); !target.ok()) return target.error();
  const uint64_t id = next_put_++;
  puts_[id] = {generation_, root, path, {}};
  return PutTicket{id};
}

Status Engine::check_put(PutTicket ticket) const {
  if (stall_) return *stall_;
  const auto put = puts_.find(ticket.id);
  if (put != puts_.end() && put->second.generation == generation_) return {};
  return make_error(ErrorCode::kChanged,
                    "writing to the state failed meanwhile, and part of what was given went with "
                    "it; the log says why. Nothing of it is journaled: give it again");
}

Status Engine::put_frames(PutTicket ticket, const std::vector<NewFrame>& frames) {
  TRY(check_put(ticket));
  uint64_t bytes = 0;
  for (const NewFrame& frame : frames) bytes += frame.bytes.size();
  // A stream that fills the disk must not take the batch, and what others wrote into it, along.
  TRY(check_space(bytes));
  auto kept = [&]() -> Result<bool> {
    TRY_ASSIGN(const bool room, has_room_for(bytes));
    if (!room) return false;
    for (const NewFrame& frame : frames) TRY(store_frame(frame));
    TRY(commit_if_due());
    return true;
  }();
  if (!kept.ok()) fail_batch(kept.error());
  if (!kept.ok()) return kept.error();
  return *kept ? Status() : check_keeping();
}

Status Engine::journal_given_dirs(const std::string& root_name, PutTarget& target) {
  const FileStat stat = stat_of_given(kGivenDirMode, 0, clock_.wall_ns());
  Record record;
  record.kind = RecordKind::kCreate;
  record.type = FileType::kDir;
  record.stat = stat;
  TRY_ASSIGN(WriteTxn * open, txn());
  if (target.root.value == 0) {
    TRY_ASSIGN(target.root, state_.journal->new_node(*open));
    record.root = record.node = target.dir = target.root;
    record.name = root_name;
    record.flags = kFlagRootAdded;
    record.note = root_note("", {});
    TRY(append(record));
  }
  record.flags = 0;
  record.root = target.root;
  record.note.clear();
  for (const std::string& name : target.missing) {
    TRY_ASSIGN(record.node, state_.journal->new_node(*open));
    record.parent = target.dir;
    record.name = name;
    TRY(append(record));
    target.dir = record.node;
  }
  return {};
}

// What goes on being the version after one that was rejected: the good one of before, or nothing.
Status Engine::keep_good_one(const Record& rejected, const std::optional<Record>& before) {
  Record next = before ? *before : rejected;
  next.kind = before ? RecordKind::kVerify : RecordKind::kDelete;
  next.verdict = Verdict::kNone;
  next.flags = 0;
  next.prev = rejected.seq;
  next.note = before ? "the last good content goes on being the version"
                     : "there has been no good content of this name yet";
  return append(next);
}

Result<Record> Engine::finish_put(PutTicket ticket, const GivenContent& given) {
  TRY(check_put(ticket));
  const auto put = puts_.find(ticket.id);
  const std::string root = put->second.root, path = put->second.path;
  TRY_ASSIGN(PutTarget target, put_target(root, path));
  auto journaled = [&]() -> Result<Record> {
    TRY(journal_given_dirs(root, target));
    TRY_ASSIGN(WriteTxn * open, txn());
    Record record;
    record.kind = given.kind;
    record.type = FileType::kFile;
    record.root = target.root;
    record.parent = target.dir;
    record.name = target.name;
    record.stat = stat_of_given(kGivenFileMode, given.size, clock_.wall_ns());
    record.hash = given.hash;
    record.content = given.content;
    record.note = given.note;
    if (given.rejected) record.flags = kFlagRejected;
    std::optional<Record> before;
    if (target.node.value != 0) {
      record.node = target.node;
      TRY_ASSIGN(before, state_.journal->version(*open, target.node, kHead));
      if (before) record.prev = before->seq;
    } else {
      TRY_ASSIGN(record.node, state_.journal->new_node(*open));
    }
    TRY(append(record));
    if (given.rejected) TRY(keep_good_one(record, before));
    TRY(commit());
    if (given.rejected) {
      const std::string text = "ALERT " + root + ":" + display_path(path) +
                               ": what was given is kept as @" + std::to_string(record.seq.value) +
                               " and not taken as good: " + given.note;
      log_.write({LogLevel::kWarn, LogKind::kDumpRejected, text, root, path, record.seq.value});
    }
    return record;
  }();
  if (!journaled.ok()) fail_batch(journaled.error());
  return journaled;
}

void Engine::end_put(PutTicket ticket) {
  puts_.erase(ticket.id);
  std::vector<std::function<void(const Status&)>> free;
  for (auto waiter = put_waiters_.begin(); waiter != put_waiters_.end();) {
    waiter->puts.erase(ticket.id);
    if (!waiter->puts.empty()) {
      ++waiter;
      continue;
    }
    free.push_back(std::move(waiter->done));
    waiter = put_waiters_.erase(waiter);
  }
  for (const auto& done : free) done({});
}

void Engine::after_puts(std::function<void(const Status&)> done) {
  std::set<uint64_t> puts;
  for (const auto& [id, put] : puts_) puts.insert(id);
  if (puts.empty()) return done({});
  put_waiters_.push_back({std::move(puts), std::move(done)});
}

}  // namespace holdfast
