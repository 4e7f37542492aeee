// Trees that archives hold, in roots without a directory (service/importer.h). All of it on the
// engine's thread.
#include "base/path.h"
#include "service/dump_run.h"
#include "service/engine.h"
#include "service/engine_parts.h"
#include "service/import_plan.h"

namespace holdfast {

Result<PutTicket> Engine::begin_import(const std::string& root_name) {
  if (stall_) return *stall_;
  TRY(check_keeping());
  for (const auto& [id, put] : puts_) {
    if (put.root == root_name && put.generation == generation_) {
      return make_error(ErrorCode::kBusy, display_path(root_name) +
                                              ": is being written by another program right now; "
                                              "try again when that is done");
    }
  }
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto roots, state_.journal->roots(*open));
  bool of_programs = root_name == kDumpsRoot;
  for (const Root& root : roots) {
    if (root.name != root_name) continue;
    if (!root.is_virtual()) {
      return make_error(ErrorCode::kUsage,
                        root_name + " is the watched directory " + display_path(root.path) +
                            ", whose history is its own; import under another name");
    }
    TRY_ASSIGN(const auto version, state_.journal->version(*open, root.node, kHead));
    of_programs = of_programs || !version || !is_import_note(version->note);
  }
  if (of_programs) {
    return make_error(ErrorCode::kUsage,
                      root_name +
                          ": is for what programs give one by one, and an import would "
                          "delete what its archive does not have; import under another "
                          "name");
  }
  const uint64_t id = next_put_++;
  puts_[id] = {generation_, root_name, "", {}};
  return PutTicket{id};
}

// New nodes get their numbers when the record that makes them is journaled.
Status Engine::append_import(PutTicket ticket, std::vector<Record>& records) {
  std::vector<NodeId>& made = puts_.at(ticket.id).made;
  for (Record& record : records) {
    TRY_ASSIGN(WriteTxn * open, txn());
    const bool makes = record.node.value == kNewNodes + made.size();
    if (makes) {
      TRY_ASSIGN(const NodeId node, state_.journal->new_node(*open));
      made.push_back(node);
    }
    for (NodeId* node : {&record.node, &record.parent, &record.root}) {
      if (node->value >= kNewNodes) *node = made.at(node->value - kNewNodes);
    }
    if (!makes) {
      TRY_ASSIGN(const auto before, state_.journal->version(*open, record.node, kHead));
      if (before) record.prev = before->seq;
    }
    TRY(append(record));
  }
  return {};
}

Status Engine::journal_import(PutTicket ticket, std::vector<Record>& records) {
  TRY(check_put(ticket));
  auto done = append_import(ticket, records);
  if (done.ok()) done = commit();
  if (!done.ok()) fail_batch(done.error());
  return done;
}

Result<Snapshot> Engine::finish_import(
    PutTicket ticket, std::vector<Record>& records, const std::string& message,
    const std::vector<std::pair<std::string, std::string>>& tags) {
  TRY(check_put(ticket));
  auto done = commit();  // what others have journaled: the rest has the batch for itself
  if (done.ok()) done = append_import(ticket, records);
  if (!done.ok()) {
    fail_batch(done.error());
    return done.error();
  }
  return pin(message, tags);
}

bool Engine::is_importing(const std::string& root_name) const {
  for (const auto& [id, put] : puts_) {
    if (put.root == root_name && put.path.empty() && put.generation == generation_) return true;
  }
  return false;
}

}  // namespace holdfast
