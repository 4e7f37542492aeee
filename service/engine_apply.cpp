// The engine's writing half: what was captured, moved or found missing becomes records.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/path.h"
#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

Record record_of(const CaptureResult& result) {
  Record record;
  record.type = result.type;
  record.parent = result.dir;
  record.name = result.name;
  record.stat = result.stat;
  record.handle = result.handle;
  record.flags = result.doubts;
  record.hash = result.hash;
  if (!result.not_kept) record.content = result.content;
  record.link_target = result.link_target;
  record.xattrs = result.xattrs;
  if (result.sparse) record.flags |= kFlagSparse;
  if (result.live) record.flags |= kFlagLive;
  if (!result.unproven.empty()) record.flags |= kFlagUnproven;
  if (result.not_kept) record.flags |= kFlagNotKept;
  if (result.state == CaptureState::kUnstable) record.flags |= kFlagUnstable;
  if (result.state == CaptureState::kUnreadable) {
    record.flags |= kFlagUnreadable;
    record.note = result.problem;
  }
  if (result.stat.mtime_ns != result.stat.ctime_ns) record.flags |= kFlagMtimeSet;
  return record;
}

// Where it cannot be told, because the directory itself may have moved, the name counts as there: a
// look at that directory will find out, and a name that goes then loses nothing.
bool Engine::still_there(size_t index, NodeId parent, const std::string& name, uint64_t inode) {
  auto open = txn();
  if (!open.ok()) return false;
  auto path = state_.journal->dir_path(**open, parent, kHead);
  if (!path.ok()) return false;
  auto dir = open_beneath(roots_[index]->fd.get(), *path, O_PATH | O_DIRECTORY);
  if (!dir.ok()) return true;
  if (parent != roots_[index]->root.node) {
    auto known = state_.journal->version(**open, parent, kHead);
    auto self = statx_fd(dir->get());
    if (!known.ok() || !*known || !self.ok() ||
        !same_object(roots_[index]->fs, **known, FileType::kDir, to_file_stat(*self))) {
      return true;
    }
  }
  auto st = statx_name(dir->get(), name);
  return st.ok() ? st->inode == inode : st.error().code != ErrorCode::kNotFound;
}

// Whether directories below the root are still to be looked through.
bool Engine::is_walking(size_t index) const {
  return !walk_stack_.empty() || scans_running_ > 0 || roots_[index]->dirty->recursive_pending();
}

// Whether a walk came by while the directory, or one that it lay in, was not there.
Result<bool> Engine::was_away(NodeId dir) {
  TRY_ASSIGN(WriteTxn * open, txn());
  while (dir.value != 0) {
    for (const MissingName& missing : missing_.of_node(dir)) {
      if (missing.walked_past) return true;
    }
    TRY_ASSIGN(const auto version, state_.journal->version(*open, dir, kHead));
    if (!version) return false;
    dir = version->parent;
  }
  return false;
}

Result<Engine::Place> Engine::place(size_t index, NodeId dir, const std::string& name,
                                    FileType type, const FileStat& stat, uint64_t handle) {
  Place place;
  TRY_ASSIGN(WriteTxn * open, txn());
  const Journal& journal = *state_.journal;
  TRY_ASSIGN(place.old, journal.entry(*open, dir, name, kHead));
  if (place.old) {
    TRY_ASSIGN(place.version, journal.version(*open, place.old->node, kHead));
    if (place.version && same_object(roots_[index]->fs, *place.version, type, stat, handle)) {
      place.how = Place::How::kSame;
      place.node = place.old->node;
      return place;
    }
    place.version.reset();
  }
  if (!roots_[index]->fs.stable_inodes) return place;
  TRY_ASSIGN(const auto known, journal.inode(*open, roots_[index]->root.node, stat.inode));
  if (!known) return place;
  TRY_ASSIGN(auto version, journal.version(*open, known->node, kHead));
  if (!version || !same_object(roots_[index]->fs, *version, type, stat, handle))
    return place;  // the number was used again
  place.node = known->node;
  std::optional<MissingName> gone;
  for (MissingName& missing : missing_.of_node(known->node)) {
    TRY_ASSIGN(const auto led_to, journal.entry(*open, missing.parent, missing.name, kHead));
    if (!gone && led_to && led_to->node == known->node) gone = std::move(missing);
  }
  if (gone) {
    place.how = Place::How::kRename;
    place.from_parent = gone->parent;
    place.from_name = gone->name;
  } else {
    // The newest record's name, unless that ended: then another of the file's names goes on.
    TRY_ASSIGN(const auto last_name, journal.entry(*open, version->parent, version->name, kHead));
    const bool stands = last_name && last_name->node == known->node;
    // A file with one name that is seen under another one has moved, wherever it is a moment later.
    const bool linked = type != FileType::kDir &&
                        (!stands || (stat.nlink > 1 && still_there(index, version->parent,
                                                                   version->name, stat.inode)));
    if (!linked && !stands) {  // a directory that has no name: as good as new
      place.node = {};
      return place;
    }
    place.how = linked ? Place::How::kLink : Place::How::kRename;
    place.from_parent = version->parent;
    place.from_name = version->name;
  }
  if (type == FileType::kDir) {
    // Nothing moves into itself: the directories above it are not known as they are now, or it is
    // another one that looks the same.
    TRY_ASSIGN(const bool ring, journal.is_within(*open, dir, place.node));
    if (ring) {
      Place as_new;
      as_new.old = std::move(place.old);
      return as_new;
    }
    TRY_ASSIGN(place.was_away, was_away(place.node));
  }
  place.version = std::move(version);
  return place;
}

// The node that a name led to is about to lose it to another one.
Status Engine::displace(size_t index, const Entry& old) {
  if (old.type == FileType::kDir) {
    TRY_ASSIGN(WriteTxn * open, txn());
    std::vector<Entry> children;
    TRY(state_.journal->for_each_entry(*open, old.node, kHead, [&](const Entry& entry) {
      children.push_back(entry);
      return Visit::kContinue;
    }));
    for (const Entry& child : children) {
      TRY(delete_tree(index, old.node, child.name, child.node, child.type, false));
    }
    if (roots_[index]->watcher) roots_[index]->watcher->remove_dir(old.node);
    roots_[index]->dirty->forget(old.node);
    return {};
  }
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto version, state_.journal->version(*open, old.node, kHead));
  if (!version) return {};
  return look_at_other_names(index, *version);
}

// What moves may come out of the directory whose name it takes: that name of it stays until then.
Status Engine::displace_for(size_t index, const Place& place) {
  if (!place.old) return {};
  if (place.how == Place::How::kRename) moving_from_ = {place.from_parent, place.from_name};
  auto status = displace(index, *place.old);
  moving_from_.reset();
  return status;
}

// What was written through a name before the name went was told under that name only. The file's
// other names lead to it still.
Status Engine::look_at_other_names(size_t index, const Record& version) {
  if (version.stat.nlink < 2 || version.type == FileType::kDir) return {};
  constexpr uint64_t kEveryEpoch = 0;  // each flush that is waited for may have to see it
  const int64_t now = clock_.boottime_ns();
  TRY_ASSIGN(WriteTxn * open, txn());
  return state_.journal->for_each_version(*open, version.node, false, [&](const Record& record) {
    const bool makes_name = record.kind == RecordKind::kCreate ||
                            record.kind == RecordKind::kLink || record.kind == RecordKind::kRename;
    if (!makes_name) return Visit::kContinue;
    const auto entry = state_.journal->entry(*open, record.parent, record.name, kHead);
    if (entry.ok() && *entry && (*entry)->node == version.node) {
      roots_[index]->dirty->add_name(record.parent, record.name, kEveryEpoch, now);
    }
    return Visit::kContinue;
  });
}

Status Engine::journal_move(size_t index, NodeId dir, const std::string& name, const Place& place,
                            const FileStat& stat, bool offline) {
  TRY(displace_for(index, place));
  Record record = *place.version;
  record.kind = place.how == Place::How::kLink ? RecordKind::kLink : RecordKind::kRename;
  record.verdict = Verdict::kAttrOnly;
  record.flags = (record.flags & kFlagsOfContent) | (offline ? kFlagOffline : 0u) |
                 (place.old ? kFlagReplaced : 0u);
  record.prev = place.version->seq;
  record.parent = dir;
  record.name = name;
  record.stat = stat;
  record.from_parent = place.how == Place::How::kRename ? place.from_parent : NodeId{};
  record.from_name = place.how == Place::How::kRename ? place.from_name : "";
  record.note.clear();
  if (record.type == FileType::kDir) {
    // A look that is to come or under way below the old parent would miss what moved away from it,
    // and a flush may be waiting for that look. One that was away when its parent was looked at
    // (and comes back from outside) has not been looked at all: a watch that it lacks says so, or,
    // where a watcher needs none, that its name was missing.
    RootState& root = *roots_[index];
    const bool looking = is_walking(index);
    const bool unwatched = root.watcher && !root.watcher->watches(place.node);
    const uint64_t epoch = std::min(epoch_, lowest_epoch().value_or(epoch_));
    if (looking || unwatched || place.was_away) {
      root.dirty->add_dir(place.node, true, epoch, clock_.boottime_ns());
    }
  } else if ((record.flags & (kFlagRacy | kFlagUnstable)) != 0) {
    // What was still to be read once more was to be read under the old name.
    const int64_t later = options_.settle_ns + granularity_of(roots_[index]->fs, stat.ctime_ns);
    roots_[index]->dirty->add_doubt(dir, name, epoch_, clock_.boottime_ns() + later);
  }
  return append(record);
}

// The same move, with what was read at its new place: one record, so that no moment shows the new
// name with the content of before.
Status Engine::apply_move(size_t index, const CaptureResult& result, Record& record,
                          const Place& place) {
  const Record& before = *place.version;
  TRY(displace_for(index, place));
  const bool linked = place.how == Place::How::kLink;
  record.kind = linked ? RecordKind::kLink : RecordKind::kRename;
  record.node = place.node;
  record.prev = before.seq;
  find_kept_content(before, result, record);
  TRY(keep_good_content(before, record));
  TRY(judge(index, before, true, result, record));
  Record found = record;
  const bool finding = is_corruption(found.verdict) || found.verdict == Verdict::kReadError;
  if (finding) {  // it moved, and then the good version is told apart from what is there
    record.content = before.content;
    record.hash = before.hash;
    record.stat.size = before.stat.size;
    record.xattrs = before.xattrs;
    record.verdict = Verdict::kAttrOnly;
    record.flags = (before.flags & kFlagsOfContent) | (record.flags & kFlagOffline);
    record.note.clear();
  }
  if (place.old) record.flags |= kFlagReplaced;
  if (!linked) {
    record.from_parent = place.from_parent;
    record.from_name = place.from_name;
  }
  TRY(append(record));
  if (!finding || is_to_be_confirmed(index, result, found)) return {};
  return journal_finding(index, record, found);
}

Result<bool> Engine::alive(NodeId dir) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto version, state_.journal->version(*open, dir, kHead));
  return version && version->kind != RecordKind::kDelete;
}

Status Engine::captured(CaptureOutput output) {
  if (output.generation != generation_) {
    // Its batch was undone. Nobody must wait for chunks that will not come.
    for (const NewFrame& frame : output.frames) {
      for (const ChunkInFrame& chunk : frame.chunks) pipeline_.pending().release(chunk.id);
    }
    return apply_parked();
  }
  totals_.known_bytes += output.known_bytes;
  for (const NewFrame& frame : output.frames) {
    TRY_ASSIGN(const bool kept, keep_frame(frame));
    for (const ChunkInFrame& chunk : frame.chunks) {
      kept ? claimed_.push_back(chunk.id) : pipeline_.pending().release(chunk.id);
    }
  }
  for (CaptureResult& result : output.results) {
    count_capture(output.root, result);
    parked_.push_back({output.root, std::move(result), output.epoch, output.offline});
  }
  return apply_parked();
}

// Journals the results whose chunks have all arrived; chunks of other workers may still be on their
// way.
Status Engine::apply_parked() {
  std::vector<Parked> waiting;
  std::vector<Parked> now = std::move(parked_);
  parked_.clear();
  for (Parked& parked : now) {
    TRY_ASSIGN(WriteTxn * open, txn());
    bool arrived = true, coming = true;
    for (const ChunkId& id : parked.result.awaited) {
      if (state_.store->has(*open, id)) continue;
      arrived = false;
      coming = coming && pipeline_.pending().contains(id);
    }
    if (may_lack_content(*open, parked.result)) arrived = coming = false;
    if (!arrived && coming) {
      waiting.push_back(std::move(parked));
      continue;
    }
    busy_names_.erase({parked.result.dir, parked.result.name});
    if (!arrived && !is_keeping()) arrived = leave_content(parked.result);
    if (!arrived && parked.result.ask != 0) {
      for (Ask& ask : asks_) ask.started = ask.started && ask.id != parked.result.ask;
    } else if (!arrived) {  // who was to store them was undone: the file is read again
      if (parked.result.live) databases_.due[{parked.result.dir, parked.result.name}] = false;
      roots_[parked.root]->dirty->add_name(parked.result.dir, parked.result.name, parked.epoch,
                                           clock_.boottime_ns());
    }
    if (auto left = outstanding_.find(parked.epoch); --left->second == 0) outstanding_.erase(left);
    if (arrived) TRY(apply(parked.root, parked.result, parked.epoch, parked.offline));
  }
  parked_ = std::move(waiting);
  return {};
}

// Of a file that was read a while ago. nullopt: it has moved on since then, and its name has
// nothing to tell. One that has got another name since then has not moved from that.
Result<std::optional<Engine::Place>> Engine::place_now(size_t index, const CaptureResult& result) {
  FileStat stat = result.stat;
  TRY_ASSIGN(Place found, place(index, result.dir, result.name, result.type, stat, result.handle));
  if (found.how != Place::How::kRename && found.how != Place::How::kLink)
    return std::optional(found);
  const auto live = statx_name(result.dir_fd->get(), result.name);
  if (!live.ok() || live->inode != stat.inode) return std::optional<Place>();
  if (live->nlink == stat.nlink) return std::optional(found);
  stat.nlink = live->nlink;
  TRY_ASSIGN(found, place(index, result.dir, result.name, result.type, stat, result.handle));
  return std::optional(found);
}

Status Engine::apply(size_t index, CaptureResult& result, uint64_t epoch, bool offline) {
  RootState& root = *roots_[index];
  const int64_t now = clock_.boottime_ns();
  if (result.ask != 0) return apply_ask(index, result);
  if (result.state == CaptureState::kGone) {
    root.dirty->add_name(result.dir, result.name, epoch, now);
    return {};
  }
  TRY_ASSIGN(const bool dir_alive, alive(result.dir));
  if (!dir_alive) return {};
  const int64_t hold = std::max(options_.settle_ns, result.took_ns * options_.hold_factor);
  root.dirty->hold(result.dir, result.name, now + hold);
  tend_database(index, result, hold);
  if (result.state == CaptureState::kUnstable) {
    root.dirty->add_name(result.dir, result.name, epoch_, now + hold);
  }
  if ((result.doubts & kFlagRacy) != 0) {  // read once more when no change can hide any longer
    root.dirty->add_doubt(result.dir, result.name, epoch_,
                          now + hold + granularity_of(root.fs, result.stat.ctime_ns));
  }
  if (result.type == FileType::kDir) {  // became a directory since it was looked at
    root.dirty->add_name(result.dir, result.name, epoch, now);
    return {};
  }
  TRY_ASSIGN(const auto placed, place_now(index, result));
  if (!placed) {
    root.dirty->add_name(result.dir, result.name, epoch, now);
    return {};
  }
  const Place& found = *placed;
  Record record = record_of(result);
  record.root = root.root.node;
  if (offline) record.flags |= kFlagOffline;
  if (result.not_kept) record.note = space_->note;
  record.flags |= future_flag(index, record.stat);
  TRY_ASSIGN(WriteTxn * open, txn());
  if (found.how == Place::How::kRename || found.how == Place::How::kLink) {
    return apply_move(index, result, record, found);
  }
  if (found.how == Place::How::kSame) return apply_same(index, result, record, *found.version);
  record.kind = RecordKind::kCreate;
  if (found.old) {
    TRY_ASSIGN(const auto replaced, state_.journal->version(*open, found.old->node, kHead));
    TRY(displace(index, *found.old));
    record.flags |= kFlagReplaced;
    if (replaced) {
      record.prev = replaced->seq;
      TRY(judge(index, *replaced, false, result, record));
    }
  } else {
    TRY(judge(index, record, true, result, record));
    if (record.verdict == Verdict::kOk) record.verdict = Verdict::kNone;
  }
  TRY_ASSIGN(open, txn());  // displacing may have closed the batch
  TRY_ASSIGN(record.node, state_.journal->new_node(*open));
  return append(record);
}

// The file that the journal has under this name, read again.
Status Engine::apply_same(size_t index, const CaptureResult& result, Record& record,
                          const Record& before) {
  if (result.state == CaptureState::kUnreadable && before.stat.size == record.stat.size &&
      before.stat.mtime_ns == record.stat.mtime_ns) {
    // Losing the right to read says nothing about the content.
    record.content = before.content;
    record.hash = before.hash;
    record.flags |= before.flags & kFlagNotKept;
  }
  find_kept_content(before, result, record);
  TRY_ASSIGN(const bool damaged, keep_good_content(before, record));
  const uint32_t kept =
      kFlagSparse | kFlagUnstable | kFlagUnreadable | kFlagLive | kFlagUnproven | kFlagNotKept;
  // What was not kept is kept now.
  const bool made_up = (before.flags & ~record.flags & kFlagNotKept) != 0;
  const bool same_content =
      before.hash == record.hash && (made_up || before.content == record.content);
  const bool offline = (record.flags & kFlagOffline) != 0;
  if (offline && same_content) note_shift(index, before.stat, record.stat);
  if (same_content && before.stat == record.stat && before.xattrs == record.xattrs &&
      before.link_target == record.link_target && (before.flags & kept) == (record.flags & kept)) {
    if (damaged || is_clean_baseline(before) || !is_clean_baseline(record)) return {};
    record.kind = RecordKind::kVerify;  // the same, and now it is known for sure
  } else if (made_up && same_content && before.stat == record.stat) {
    record.kind = RecordKind::kVerify;
    record.flags &= ~static_cast<uint32_t>(kFlagOffline);  // nothing has happened to it
    record.note = "the content is kept now";
  } else {
    record.kind = same_content ? RecordKind::kAttrib : RecordKind::kModify;
  }
  record.node = before.node;
  record.prev = before.seq;
  TRY(judge(index, before, true, result, record));
  if (is_to_be_confirmed(index, result, record)) return {};
  const bool unread = record.verdict == Verdict::kReadError;
  if (is_corruption(record.verdict) || unread) return journal_finding(index, before, record);
  return append(record);
}

// A name may come back, even as the same file, between the look that missed it and its end. Only a
// name that is certainly gone is not back: who may not look, or is told of an error, knows nothing.
bool Engine::is_back(const MissingName& missing) {
  auto open = txn();
  if (!open.ok()) return false;
  auto path = state_.journal->dir_path(**open, missing.parent, kHead);
  if (!path.ok()) return false;
  auto dir = open_beneath(roots_[missing.root]->fd.get(), *path, O_PATH | O_DIRECTORY);
  const auto gone = [](const Error& error) {
    return error.code == ErrorCode::kNotFound || error.sys_errno == ELOOP;
  };
  if (!dir.ok()) return !gone(dir.error());
  auto st = statx_name(dir->get(), missing.name);
  if (!st.ok()) return !gone(st.error());
  Look look;
  look.root = missing.root;
  look.path = *path;
  look.cache_dir = holds_cachedir_tag(dir->get());
  return !excluded(look, missing.name, S_ISDIR(st->mode)) &&
         !belongs_to_database(missing.root, dir->get(), missing.name, &*st);
}

Status Engine::resolve_missing(bool everything) {
  const int64_t now = clock_.boottime_ns();
  if (!everything && now < missing_check_ns_) return {};
  if (now - missing_.oldest_ns() < kRenameWindowNs) return {};
  missing_check_ns_ = now + kMissingWaitNs / 8;
  const bool walking = !walk_stack_.empty() || scans_running_ > 0;
  // What a walk missed may turn up later in the same walk; what an event told comes with its other
  // half.
  const auto due = missing_.take_if([&](const MissingName& missing) {
    const int64_t missed_ns = now - missing.since_ns;
    if (everything) return missed_ns >= kRenameWindowNs;
    return (!walking || !missing.offline) && missed_ns >= kMissingWaitNs;
  });
  std::vector<MissingName> gone;
  for (const MissingName& missing : due) {
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto entry, state_.journal->entry(*open, missing.parent, missing.name, kHead));
    if (!entry) continue;
    if (entry->node != missing.node) {
      // The name came back as something else meanwhile, and that may be gone again.
      roots_[missing.root]->dirty->add_name(missing.parent, missing.name, missing.epoch, now);
      continue;
    }
    if (is_back(missing)) {
      roots_[missing.root]->dirty->add_name(missing.parent, missing.name, missing.epoch, now);
      continue;
    }
    gone.push_back(missing);
  }
  if (gone.empty()) return {};
  // Who is not there now may be on the way from name to name: then the kernel tells where it went.
  const uint64_t before = arrivals_, generation = generation_;
  drain_watchers();
  if (generation != generation_) return {};
  for (MissingName& missing : gone) {
    const bool wait = arrivals_ != before && now - missing.since_ns < kMissingWaitMaxNs;
    if (wait) {
      missing_.add(std::move(missing));
      continue;
    }
    // It may have gone with its directory, a moment ago.
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto entry, state_.journal->entry(*open, missing.parent, missing.name, kHead));
    if (!entry || entry->node != missing.node) continue;
    TRY(delete_tree(missing.root, missing.parent, missing.name, missing.node, missing.type,
                    missing.offline));
  }
  return {};
}

// Journals the end of a name and of everything below it, children first.
Status Engine::delete_tree(size_t index, NodeId parent, const std::string& name, NodeId node,
                           FileType type, bool offline) {
  struct Level {
    NodeId parent;
    std::string name;
    NodeId node;
    FileType type;
    bool opened;
  };
  std::vector<Level> stack{{parent, name, node, type, false}};
  while (!stack.empty()) {
    Level& top = stack.back();
    if (moving_from_ && *moving_from_ == std::pair(top.parent, top.name)) {
      stack.pop_back();
      continue;
    }
    if (top.type == FileType::kDir && !top.opened) {
      top.opened = true;
      const NodeId dir = top.node;
      TRY_ASSIGN(WriteTxn * open, txn());
      std::vector<Level> children;
      TRY(state_.journal->for_each_entry(*open, dir, kHead, [&](const Entry& entry) {
        children.push_back({dir, entry.name, entry.node, entry.type, false});
        return Visit::kContinue;
      }));
      std::reverse(children.begin(), children.end());
      stack.insert(stack.end(), children.begin(), children.end());
      continue;
    }
    const Level done = std::move(stack.back());
    stack.pop_back();
    TRY(delete_one(index, done.parent, done.name, done.node, done.type, offline));
    if (batch_ && batch_->ops >= options_.batch_ops_max) TRY(commit());
  }
  return {};
}

Status Engine::delete_one(size_t index, NodeId parent, const std::string& name, NodeId node,
                          FileType type, bool offline) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto version, state_.journal->version(*open, node, kHead));
  if (!version) return {};
  Record record = *version;
  record.kind = RecordKind::kDelete;
  record.verdict = Verdict::kNone;
  record.prev = version->seq;
  record.parent = parent;
  record.name = name;
  record.flags = (record.flags & kFlagSparse) | (offline ? kFlagOffline : 0u);
  record.from_parent = {};
  record.from_name.clear();
  record.note.clear();
  if (type == FileType::kDir) {
    if (roots_[index]->watcher) roots_[index]->watcher->remove_dir(node);
    roots_[index]->dirty->forget(node);
  }
  TRY(append(record));
  return look_at_other_names(index, *version);
}

}  // namespace holdfast
