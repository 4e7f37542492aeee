// What verifying, healing and accepting ask of the engine. All of it on the engine's thread.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/path.h"
#include "journal/verdict.h"
#include "service/engine.h"
#include "service/engine_parts.h"
#include "service/restore_write.h"

namespace holdfast {

namespace {

// Nobody must have written what would be gone with the damaged file, or be about to.
Status still_as_read(int dir_fd, const std::string& name, const FileStat& damaged) {
  auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (!fd.ok() && fd.error().code == ErrorCode::kNotFound) {
    return make_error(ErrorCode::kChanged, "it went while it was being healed");
  }
  auto live = statx_name(dir_fd, name);
  if (!live.ok() || to_file_stat(*live) != damaged) {
    return make_error(ErrorCode::kChanged, "it changed while it was being healed");
  }
  if (fd.ok() && ask_for_writers(fd->get()) == Writers::kSome) {
    return make_error(ErrorCode::kChanged, "a program has opened it for writing");
  }
  return {};
}

}  // namespace

std::optional<size_t> Engine::index_of(NodeId root) const {
  for (size_t i = 0; i < roots_.size(); ++i) {
    if (roots_[i]->root.node == root) return i;
  }
  return std::nullopt;
}

void Engine::doubt(NodeId root, NodeId dir, const std::string& name) {
  if (const auto index = index_of(root)) {
    roots_[*index]->dirty->add_doubt(dir, name, epoch_, clock_.boottime_ns());
  }
}

Result<bool> Engine::report(const Record& version, const Record& now) {
  if (stall_) return *stall_;
  const auto index = index_of(version.root);
  if (!index) return false;
  const uint64_t generation = generation_;
  drain_watchers();
  if (generation != generation_) return false;
  auto journaled = [&]() -> Result<bool> {
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto newest, state_.journal->version(*open, version.node, kHead));
    // Changed in the ordinary way since it was looked up.
    if (!newest || newest->seq != version.seq) return false;
    if (now.verdict == Verdict::kOk) {
      TRY_ASSIGN(const auto standing, state_.journal->standing_of(*open, version.node));
      if (!standing || !ends_by_itself(standing->verdict)) return false;
      Record sound = *newest;
      sound.kind = RecordKind::kVerify;
      sound.verdict = Verdict::kOk;
      sound.prev = newest->seq;
      sound.note = "read again, and it is what it was";
      TRY(append(sound));
    } else {
      TRY(journal_finding(*index, *newest, now));
    }
    TRY(commit());
    return true;
  }();
  if (!journaled.ok()) fail_batch(journaled.error());
  return journaled;
}

void Engine::read_anew(const Record& version, Reread reread,
                       std::function<void(Result<Record>)> done) {
  if (stall_) return done(*stall_);
  asks_.push_back({next_ask_++, version, reread, std::move(done), false});
}

// Starts the reading that was asked for, once nobody else is at that name.
Status Engine::start_asks(bool& progress) {
  for (size_t i = 0; i < asks_.size(); ++i) {
    Ask& ask = asks_[i];
    if (ask.started || busy_names_.contains({ask.version.parent, ask.version.name})) continue;
    progress = true;
    const auto index = index_of(ask.version.root);
    std::shared_ptr<Fd> fd;
    if (index) {
      DirtyDir dirty;
      dirty.dir = ask.version.parent;
      dirty.epoch = epoch_;
      std::string path;
      TRY_ASSIGN(fd, open_dir(*index, dirty, path));
    }
    if (!fd) {
      finish_ask(ask.id, make_error(ErrorCode::kNotFound, "its directory is not there"));
      return {};
    }
    ask.started = true;
    CaptureTask task;
    task.root = *index;
    task.epoch = epoch_;
    task.generation = generation_;
    task.fs = roots_[*index]->fs;
    task.items.push_back(
        {ask.version.parent, std::move(fd), ask.version.name, Told::kUnseen, ask.id});
    busy_names_.insert({ask.version.parent, ask.version.name});
    ++outstanding_[epoch_];
    captures_.push_back(std::move(task));
  }
  return {};
}

void Engine::finish_ask(uint64_t id, Result<Record> result) {
  const auto ask =
      std::find_if(asks_.begin(), asks_.end(), [&](const Ask& other) { return other.id == id; });
  if (ask == asks_.end()) return;
  const auto done = std::move(ask->done);
  asks_.erase(ask);
  done(std::move(result));
}

void Engine::fail_asks(const Error& error) {
  std::vector<Ask> asks = std::move(asks_);
  asks_.clear();
  for (Ask& ask : asks) ask.done(error);
}

// Journals what is there now as the damaged content, and `before` as the version that goes on. Not
// where somebody has written to the file since the damage was found, or is about to (kChanged).
Status Engine::keep_damaged(const Record& before, Record& record) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto standing, state_.journal->standing_of(*open, before.node));
  TRY_ASSIGN(const bool known, is_known_damage(before, record));
  const bool edited = record.stat.size != before.stat.size ||
                      record.stat.mtime_ns != before.stat.mtime_ns ||
                      record.stat.ctime_ns != before.stat.ctime_ns;
  if (edited && !known) {
    return make_error(ErrorCode::kChanged,
                      "it was changed after the damage was found, and healing would undo that");
  }
  if ((record.flags & kFlagWriter) != 0) {
    return make_error(
        ErrorCode::kChanged,
        "a program has it open for writing, and would go on in the damaged file; stop "
        "the program first");
  }
  record.kind = RecordKind::kModify;
  record.verdict = standing ? standing->verdict : Verdict::kCorrupt;
  record.flags |= kFlagDamaged;
  record.note = "the damaged content, kept before the file is healed";
  TRY(append(record));
  Record good = before;
  good.kind = RecordKind::kVerify;
  // What ends by itself would end with a verdict that it is sound, and it is not healed yet.
  const bool ending = standing && ends_by_itself(standing->verdict);
  good.verdict = ending ? standing->verdict : Verdict::kOk;
  good.prev = record.seq;
  good.note = "the last good content goes on being the file's version";
  return append(good);
}

// What was asked for has been read.
Status Engine::apply_ask(size_t index, CaptureResult& result) {
  const auto ask = std::find_if(asks_.begin(), asks_.end(),
                                [&](const Ask& other) { return other.id == result.ask; });
  if (ask == asks_.end()) return {};
  const uint64_t id = ask->id;
  const auto refuse = [&](ErrorCode code, const std::string& why) {
    finish_ask(id, make_error(code, why));
    return Status();
  };
  if (result.state == CaptureState::kGone) return refuse(ErrorCode::kNotFound, "it is not there");
  if (result.state == CaptureState::kUnstable) {
    return refuse(ErrorCode::kChanged, "it keeps changing while it is read; try again later");
  }
  if (result.state == CaptureState::kUnreadable) return refuse(ErrorCode::kFailed, result.problem);
  TRY_ASSIGN(const Place found,
             place(index, result.dir, result.name, result.type, result.stat, result.handle));
  if (found.how != Place::How::kSame) {
    return refuse(ErrorCode::kChanged, "another file is there now");
  }
  const Record& before = *found.version;
  Record record = record_of(result);
  record.root = roots_[index]->root.node;
  record.node = found.node;
  record.prev = before.seq;
  if (ask->reread == Reread::kAccept) {
    record.kind = RecordKind::kAccept;
    record.verdict = Verdict::kOk;
    TRY(append(record));
  } else if (ask->reread == Reread::kSuspect) {
    record.kind = RecordKind::kModify;
    TRY(judge(index, before, true, result, record));
    if (record.content == before.content && record.hash == before.hash &&
        record.link_target == before.link_target) {
      return refuse(ErrorCode::kChanged, "it is what it was");
    }
    TRY(append(record));
  } else {
    if (auto status = keep_damaged(before, record); !status.ok()) {
      if (status.error().code != ErrorCode::kChanged) return status;
      return refuse(ErrorCode::kChanged, status.error().message);
    }
  }
  TRY(commit());
  finish_ask(id, std::move(record));
  return {};
}

// Gives all names of the node the new file `temporary`, which holds its good content and is
// durable.
Result<Record> Engine::put_healed(const Record& version, const FileStat& damaged, int dir_fd,
                                  const std::string& temporary) {
  if (stall_) return *stall_;
  const auto index = index_of(version.root);
  if (!index) return make_error(ErrorCode::kNotFound, "its root is not watched any more");
  const uint64_t generation = generation_;
  drain_watchers();
  auto healed = [&]() -> Result<Record> {
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto newest, state_.journal->version(*open, version.node, kHead));
    if (generation != generation_ || !newest || newest->seq != version.seq) {
      return make_error(ErrorCode::kChanged, "it changed while it was being healed");
    }
    TRY_ASSIGN(const auto links, other_names(*index, version));
    TRY(still_as_read(dir_fd, version.name, damaged));
    for (const auto& [other, name] : links) TRY(still_as_read(other->get(), name, damaged));
    for (size_t i = 0; i < links.size(); ++i) {
      const int other = links[i].first->get();
      const std::string& name = links[i].second;
      const std::string linked = temporary + "-" + std::to_string(i);
      if (::linkat(dir_fd, temporary.c_str(), other, linked.c_str(), 0) != 0 ||
          ::renameat(other, linked.c_str(), other, name.c_str()) != 0) {
        return errno_error(errno, "giving the healed file its other name " + display_path(name));
      }
    }
    if (::renameat(dir_fd, temporary.c_str(), dir_fd, version.name.c_str()) != 0) {
      return errno_error(errno, "giving the healed file its name");
    }
    TRY_ASSIGN(const StatxResult st, statx_name(dir_fd, version.name));
    Record record = *newest;
    record.kind = RecordKind::kHeal;
    record.verdict = Verdict::kOk;
    record.prev = newest->seq;
    record.stat = to_file_stat(st);
    record.handle = handle_id(file_handle_of_name(dir_fd, version.name));
    record.flags = (newest->flags & (kFlagSparse | kFlagMtimeSet)) | kFlagOwn;
    record.note = "the content of before, verified";
    TRY(append(record));
    TRY(commit());
    return record;
  }();
  if (!healed.ok() && healed.error().code != ErrorCode::kChanged) fail_batch(healed.error());
  return healed;
}

// The file's other names in the root, each with its open directory.
Result<std::vector<std::pair<std::shared_ptr<Fd>, std::string>>> Engine::other_names(
    size_t index, const Record& version) {
  std::vector<std::pair<std::shared_ptr<Fd>, std::string>> names;
  if (version.stat.nlink < 2) return names;
  TRY_ASSIGN(WriteTxn * open, txn());
  std::set<std::pair<NodeId, std::string>> places;
  TRY(state_.journal->for_each_version(*open, version.node, false, [&](const Record& record) {
    if (record.parent != version.parent || record.name != version.name) {
      places.insert({record.parent, record.name});
    }
    return Visit::kContinue;
  }));
  for (const auto& [dir, name] : places) {
    TRY_ASSIGN(const auto entry, state_.journal->entry(*open, dir, name, kHead));
    if (!entry || entry->node != version.node) continue;
    TRY_ASSIGN(const std::string path, state_.journal->dir_path(*open, dir, kHead));
    TRY_ASSIGN(Fd fd, open_beneath(roots_[index]->fd.get(), path, O_PATH | O_DIRECTORY));
    names.emplace_back(std::make_shared<Fd>(std::move(fd)), name);
  }
  return names;
}

Result<Sequence> Engine::answer(RecordKind kind, NodeId root, Sequence since,
                                const std::string& note) {
  Record record;
  record.kind = kind;
  record.root = root;
  record.prev = since;
  record.note = note;
  auto status = append(record);
  if (status.ok()) status = commit();
  if (!status.ok()) {
    fail_batch(status.error());
    return status.error();
  }
  return record.seq;
}

void Engine::begin_restore(NodeId root, Sequence at) {
  if (const auto index = index_of(root)) roots_[*index]->own_at = at;
}

void Engine::know_own_files(NodeId root, const std::vector<uint64_t>& inodes) {
  const auto index = index_of(root);
  if (!index) return;
  auto& own = roots_[*index]->own_inodes;
  if (inodes.empty()) own = {};
  own.insert(inodes.begin(), inodes.end());
}

}  // namespace holdfast
