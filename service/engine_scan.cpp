// The engine and whole directories: what a worker listed is compared with the journal. A large
// directory comes in slices, each looked at when what the one before had to be captured is on its
// way, so that memory holds its names and little else of it.
#include <algorithm>

#include "base/path.h"
#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

Status Engine::scanned(ScanResult result) {
  if (result.task.generation != generation_) return {};
  // What has left the tree meanwhile is not gone on with.
  bool over = result.is_last();
  if (!over && result.first != 0) {
    TRY_ASSIGN(const bool there, alive(result.task.dir));
    over = !there;
  }
  if (over) {
    --scans_running_;
    busy_dirs_.erase(result.task.dir);
    if (auto left = outstanding_.find(result.task.epoch); --left->second == 0)
      outstanding_.erase(left);
  }
  if (over && !result.is_last()) return {};
  RootState& root = *roots_[result.task.root];
  if (!result.status.ok()) {
    if (result.status.error().code == ErrorCode::kNotFound) return {};
    return cannot_look(
        result.task.root, result.task.dir, result.task.recursive,
        "cannot list " + display_path(result.task.path) + ": " + result.status.error().message);
  }
  if (result.first == 0 && result.unknown.names.empty()) root.unlisted.erase(result.task.dir);
  Look look;
  look.root = result.task.root;
  look.dir = result.task.dir;
  look.dir_fd = result.task.dir_fd;
  look.path = result.task.path;
  look.epoch = result.task.epoch;
  look.all = true;
  look.recursive = result.task.recursive;
  look.offline = result.task.offline;
  look.cache_dir = result.task.cache_dir;
  const NameList& names = *result.task.names;
  if (result.first != 0) look.after = names[result.first - 1];
  if (!result.is_last()) look.upto = names[result.task.next - 1];
  look.empty = names.size() == 0;
  look.self = result.self;
  look.xattrs = std::move(result.xattrs);
  look.entries = std::move(result.entries);
  look.unknown = std::move(result.unknown);
  const size_t above = walk_stack_.size();
  TRY(compare(look));
  // The stack is walked from its end. In the order of their nodes, which is that of the rows of
  // what is in them, directories are appended to a table that would have half-empty pages
  // otherwise.
  if (above < walk_stack_.size()) {
    std::reverse(walk_stack_.begin() + static_cast<ptrdiff_t>(above), walk_stack_.end());
  }
  if (!over) scans_.push_back(std::move(result.task));
  return {};
}

// What the journal has of the names that are looked at.
Status Engine::known_names(const Look& look, std::vector<Entry>& known) {
  TRY_ASSIGN(WriteTxn * open, txn());
  return state_.journal->for_each_entry_after(*open, look.dir, look.after, kHead,
                                              [&](const Entry& entry) {
                                                if (!look.upto.empty() && entry.name > look.upto)
                                                  return Visit::kStop;
                                                known.push_back(entry);
                                                return Visit::kContinue;
                                              });
}

// What nobody can look at stays what it was, until it can be looked at again.
Status Engine::note_unknown(const Look& look, std::vector<Entry>& known) {
  if (look.unknown.names.empty()) return {};
  RootState& root = *roots_[look.root];
  for (const Entry& entry : known) {
    // The walk goes on from there when it can.
    if (look.recursive && entry.type == FileType::kDir && look.unknown.contains(entry.name)) {
      root.unlisted[entry.node] = true;
    }
  }
  std::erase_if(known, [&](const Entry& entry) { return look.unknown.contains(entry.name); });
  const auto& names = look.unknown.names;
  const auto kept = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
    return !excluded(look, name, false);
  });
  if (kept == names.end()) return {};
  return cannot_look(look.root, look.dir, false,
                     "cannot look at " + display_path(join_path(look.path, *kept)) +
                         (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more"
                                           : std::string()) +
                         ": " + look.unknown.why + "; nothing there is taken as deleted");
}

}  // namespace holdfast
