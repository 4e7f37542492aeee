// JournalCheck: verifies the tables against the records, private to this folder.
//
// One pass over the records checks each (structure, sequence, time, chain) and that every row it
// calls for is there with the right value. Rows are distinct, so equal counts then prove that there
// are no others; where a count differs, a pass over that table names the rows no record explains.
// Memory does not grow with the number of files: only roots, boots, live snapshots and open
// verdicts are kept.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "journal/internal.h"

namespace holdfast {

class JournalCheck {
 public:
  JournalCheck(const Journal& journal, const LmdbTxn& txn,
               const std::function<void(const std::string&)>& finding)
      : journal_(journal), txn_(txn), finding_(finding) {}
  // Fails only where the environment cannot be read at all; damage is a finding.
  Status run();

 private:
  // A live name whose inode has no row: right only if another node took the inode over and let it
  // go.
  struct Orphan {
    NodeId root;
    uint64_t inode = 0;
    NodeId node;
    Sequence seen;
  };

  void found(const std::string& what);
  bool full() const { return findings_ >= kFindingsMax; }

  Status check_records();
  Status check_record(Sequence seq, std::string_view bytes);
  void check_chain(Sequence seq, std::string_view bytes);
  Status check_order(const Record& record);
  Status check_rows_of(const Record& record);
  Status expect_entry(NodeId parent, const std::string& name, Sequence seq,
                      const EntryValue& value);
  void note_snapshot(const Record& record);
  void note_standing(const Record& record);
  Status check_head();

  Status check_count(Dbi dbi, uint64_t expected, const char* table,
                     Status (JournalCheck::*explain)());
  Status explain_entries();
  Status explain_versions();
  Status check_small_table(Dbi dbi, const char* table,
                           const std::map<std::string, std::string>& rows,
                           const std::function<std::string(std::string_view)>& word);
  Status check_times();
  Status check_steps(uint64_t steps);
  void note_incidents(const Record& record);
  Status check_incidents();
  Status check_counts();
  Status check_words();
  Status check_lost();
  Status check_inodes();
  Status check_inode_row(std::string_view key, std::string_view value);
  Status check_live_names();
  Status check_live_name(const EntryKey& key, const EntryValue& value);
  Status resolve_orphans();

  static constexpr size_t kFindingsMax = 1000;
  static constexpr size_t kOrphansMax = 65536;

  const Journal& journal_;
  const LmdbTxn& txn_;
  const std::function<void(const std::string&)>& finding_;
  size_t findings_ = 0;

  Journal::HeadRow last_;  // of the records seen so far
  bool last_sound_ = true;
  uint64_t entries_expected_ = 0;
  uint64_t versions_expected_ = 0;
  uint64_t node_highest_ = 0;
  std::map<std::string, std::string> boots_;  // key -> value, as the tables should be
  std::map<std::string, std::string> roots_;
  std::map<std::string, std::string> snapshots_;
  std::map<NodeId, Standing> standing_;
  std::map<NodeId, RootCounts> counts_;   // of the names that are there now
  std::map<std::string, Sequence> lost_;  // words for lost chunks, and who says so
  Sequence hole_;                         // the last record that stands for lost ones
  Incidents incidents_;
  bool after_boot_ = false;  // the record before registers a boot
  bool after_stop_ = true;   // the last one that does not is an orderly end, or there is none
  std::vector<Orphan> orphans_;
};

}  // namespace holdfast
