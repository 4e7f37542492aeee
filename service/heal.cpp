#include "service/heal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/path.h"
#include "journal/verdict.h"
#include "service/restore_write.h"

namespace holdfast {

namespace {

bool can_heal(Verdict verdict) { return is_corruption(verdict) || ends_by_itself(verdict); }

// The last good content in a new file, proven to be on the disk.
Status write_good(State& state, const LmdbTxn& txn, int dir_fd, const std::string& temporary,
                  const Record& version) {
  ChunkReader reader(*state.store, txn);
  TRY(write_file(dir_fd, temporary, version, reader));
  TRY_ASSIGN(Fd fd, open_beneath(dir_fd, temporary, O_RDONLY));
  if (::fsync(fd.get()) != 0) return errno_error(errno, "syncing the healed file");
  RateLimit unlimited(0);
  std::atomic<bool> cancelled{false};
  DiskReader disk(unlimited, cancelled);
  TRY_ASSIGN(const ContentHash hash, disk.hash(dir_fd, temporary, true));
  if (hash == version.hash) return {};
  return make_error(ErrorCode::kDamaged,
                    "what was written does not come back from the disk as it was; the disk is "
                    "failing, restore to another one with holdfast restore --to");
}

Result<Sequence> heal_one(State& state, Gate& gate, const OpenVerdict& open) {
  Record version;
  std::string dir_path;
  {
    TRY_ASSIGN(auto txn, state.env->begin_read());
    TRY_ASSIGN(auto newest, state.journal->version(*txn, open.standing.node, kLatest));
    if (!newest || open.gone) {
      return make_error(ErrorCode::kNotFound,
                        "the file is gone; bring it back with holdfast restore, or answer the "
                        "verdict with holdfast accept");
    }
    version = std::move(*newest);
    TRY_ASSIGN(const Record finding, state.journal->record(*txn, open.standing.since));
    if (finding.content != version.content || finding.hash != version.hash) {
      return make_error(ErrorCode::kChanged,
                        "it has been rewritten since, and healing would undo that; look at "
                        "holdfast history, then accept it, or restore --at @" +
                            std::to_string(finding.seq.value));
    }
    TRY_ASSIGN(dir_path, state.journal->dir_path(*txn, version.parent, kLatest));
  }
  if (!version.content.stored()) {
    return make_error(ErrorCode::kNotFound, "its good content was never stored");
  }
  // What cannot be read cannot be kept either; that is no reason to leave the file as it is.
  const auto kept = gate.read_anew(version, Engine::Reread::kDamaged);
  if (!kept.ok() && kept.error().code != ErrorCode::kFailed) return kept.error();

  TRY_ASSIGN(auto txn, state.env->begin_read());
  TRY_ASSIGN(auto newest, state.journal->version(*txn, version.node, kLatest));
  if (!newest || newest->content != version.content || newest->hash != version.hash) {
    return make_error(ErrorCode::kChanged, "it changed while it was being healed");
  }
  TRY_ASSIGN(const Fd root, open_directory(open.path.root.path));
  TRY_ASSIGN(Fd dir, open_beneath(root.get(), dir_path, O_RDONLY | O_DIRECTORY));
  const std::string temporary = temporary_name(version.node.value);
  auto written = write_good(state, *txn, dir.get(), temporary, *newest);
  auto seq = std::make_shared<Sequence>();
  if (written.ok()) {
    const auto shared_dir = std::make_shared<Fd>(std::move(dir));
    const Record good = *newest;
    const FileStat damaged = kept.ok() ? kept->stat : version.stat;
    written = gate.with_engine([=](Engine& engine, const Gate::Done& done) {
      auto healed = engine.put_healed(good, damaged, shared_dir->get(), temporary);
      if (healed.ok()) *seq = healed->seq;
      done(healed.ok() ? Status() : Status(healed.error()));
    });
    if (written.ok() && ::fsync(shared_dir->get()) != 0) {
      written = errno_error(errno, "syncing the directory");
    }
    if (!written.ok()) ::unlinkat(shared_dir->get(), temporary.c_str(), 0);
  } else {
    ::unlinkat(dir.get(), temporary.c_str(), 0);
  }
  TRY(written);
  return *seq;
}

}  // namespace

bool lies_below(const UserPath& path, const UserPath& above) {
  if (path.root.node != above.root.node) return false;
  return above.relative.empty() || path.relative == above.relative ||
         path.relative.starts_with(above.relative + "/");
}

Result<std::vector<OpenVerdict>> open_verdicts(State& state, const LmdbTxn& txn) {
  std::vector<OpenVerdict> all;
  TRY_ASSIGN(const auto rows, state.journal->standing(txn));
  if (rows.empty()) return all;
  Query query(state, txn);
  for (const Standing& row : rows) {
    OpenVerdict open;
    open.standing = row;
    TRY_ASSIGN(const auto newest, state.journal->version(txn, row.node, kLatest));
    if (!newest) continue;
    TRY_ASSIGN(const auto entry, state.journal->entry(txn, newest->parent, newest->name, kLatest));
    open.gone = !entry || entry->node != row.node;
    const auto [root_name, path] = query.place(*newest);
    for (const Root& root : query.roots()) {
      if (root.node == newest->root) open.path.root = root;
    }
    open.path.relative = path;
    all.push_back(std::move(open));
  }
  std::sort(all.begin(), all.end(), [](const OpenVerdict& a, const OpenVerdict& b) {
    return a.standing.since < b.standing.since;
  });
  return all;
}

Result<std::vector<HealOutcome>> heal(State& state, Gate& gate, const std::vector<UserPath>& paths,
                                      const std::function<bool()>& cancelled) {
  std::vector<OpenVerdict> open;
  {
    TRY_ASSIGN(auto txn, state.env->begin_read());
    TRY_ASSIGN(open, open_verdicts(state, *txn));
  }
  std::vector<HealOutcome> outcomes;
  for (const OpenVerdict& verdict : open) {
    if (cancelled()) return make_error(ErrorCode::kInterrupted, "interrupted");
    const bool wanted = std::any_of(paths.begin(), paths.end(), [&](const UserPath& path) {
      return lies_below(verdict.path, path);
    });
    if (!wanted || !can_heal(verdict.standing.verdict)) continue;
    auto healed = heal_one(state, gate, verdict);
    outcomes.push_back({verdict.standing.node, verdict.path.root, verdict.path.relative,
                        healed.ok() ? *healed : Sequence{},
                        healed.ok() ? "" : healed.error().message});
  }
  return outcomes;
}

}  // namespace holdfast
