// A journal in a directory of its own, with a clock moved by hand and short words for records.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "journal/journal.h"

namespace holdfast {

template <class T>
T must(Result<T> result) {
  INFO((result.ok() ? std::string() : result.error().message));
  REQUIRE(result.ok());
  return std::move(*result);
}
inline void must(const Status& status) {
  INFO((status.ok() ? std::string() : status.error().message));
  REQUIRE(status.ok());
}

inline ChunkKey test_key() {
  ChunkKey key{};
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  return key;
}

// Every row of every table: what two journals are compared by.
using Tables = std::map<std::string, std::map<std::string, std::string>>;

class JournalFixture {
 public:
  JournalFixture() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "holdfast-journal-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    state_dir = pattern;
    env = must(LmdbEnv::open(state_dir, 64u << 20, 16));
    journal = must(Journal::open(*env, test_key()));
  }
  ~JournalFixture() {
    txn.reset();
    journal.reset();
    env.reset();
    std::error_code ignored;
    std::filesystem::remove_all(state_dir, ignored);
  }
  JournalFixture(const JournalFixture&) = delete;
  JournalFixture& operator=(const JournalFixture&) = delete;

  WriteTxn& write() {
    if (!txn) txn = must(env->begin_write());
    return *txn;
  }
  void commit() {
    if (txn) must(txn->commit());
    txn.reset();
  }

  // --- records ---
  NodeId new_node() { return must(journal->new_node(write())); }
  Status try_append(Record& record) {
    clock.wall += 1000;
    clock.boottime += 1000;
    auto bytes = journal->append(write(), record, clock);
    if (!bytes.ok()) return bytes.error();
    all_bytes += *bytes;
    return {};
  }
  Sequence append(Record record) {
    must(try_append(record));
    return record.seq;
  }
  Record node_record(RecordKind kind, NodeId node, NodeId parent, const std::string& name,
                     uint64_t inode, FileType type = FileType::kFile) const {
    Record record;
    record.kind = kind;
    record.type = type;
    record.root = root;
    record.node = node;
    record.parent = parent;
    record.name = name;
    record.stat.mode = type == FileType::kDir ? 0040755 : 0100644;
    record.stat.inode = inode;
    record.stat.mtime_ns = record.stat.ctime_ns = clock.wall;
    return record;
  }
  NodeId add_root(const std::string& name = "data", const std::string& path = "/srv/data") {
    root = new_node();
    Record record = node_record(RecordKind::kCreate, root, {}, name, 1, FileType::kDir);
    record.flags = kFlagRootAdded;
    record.note = path;
    append(record);
    return root;
  }
  NodeId create(NodeId parent, const std::string& name, uint64_t inode,
                FileType type = FileType::kFile) {
    const NodeId node = new_node();
    append(node_record(RecordKind::kCreate, node, parent, name, inode, type));
    return node;
  }
  Sequence change(RecordKind kind, NodeId node, NodeId parent, const std::string& name,
                  uint64_t inode, FileType type = FileType::kFile) {
    return append(node_record(kind, node, parent, name, inode, type));
  }
  Record rename_record(NodeId node, NodeId from_parent, const std::string& from, NodeId parent,
                       const std::string& name, uint64_t inode,
                       FileType type = FileType::kFile) const {
    Record record = node_record(RecordKind::kRename, node, parent, name, inode, type);
    record.from_parent = from_parent;
    record.from_name = from;
    return record;
  }

  // --- questions ---
  const LmdbTxn& reader() { return write(); }
  Head head() { return must(journal->head(reader())); }
  // The node under a name; 0 for none.
  NodeId at(NodeId parent, const std::string& name, Sequence seq = kLatest) {
    const auto entry = must(journal->entry(reader(), parent, name, seq));
    return entry ? entry->node : NodeId{};
  }
  std::vector<std::string> names(NodeId parent, Sequence seq = kLatest) {
    std::vector<std::string> all;
    must(journal->for_each_entry(reader(), parent, seq, [&](const Entry& entry) {
      all.push_back(entry.name);
      return Visit::kContinue;
    }));
    return all;
  }
  // Number of live names that the inode table counts; 0 where it has no row.
  uint32_t names_of_inode(uint64_t inode) {
    const auto entry = must(journal->inode(reader(), root, inode));
    return entry ? entry->names : 0;
  }
  NodeId node_of_inode(uint64_t inode) {
    const auto entry = must(journal->inode(reader(), root, inode));
    return entry ? entry->node : NodeId{};
  }
  std::vector<std::string> findings() {
    std::vector<std::string> all;
    must(journal->check(reader(), [&](const std::string& text) { all.push_back(text); }));
    return all;
  }
  void require_sound() {
    const auto all = findings();
    INFO((all.empty() ? std::string() : all.front()));
    REQUIRE(all.empty());
  }

  Dbi table(const char* name) {
    commit();
    return must(env->table(name));
  }
  Tables dump() {
    commit();
    Tables tables;
    for (const char* name : {"records", "entries", "versions", "inodes", "times", "snapshots",
                             "boots", "roots", "standing", "meta"}) {
      auto& rows = tables[name];
      const Dbi dbi = table(name);
      const auto read = must(env->begin_read());
      Cursor cursor = must(Cursor::open(*read, dbi));
      for (bool more = must(cursor.first()); more; more = must(cursor.next())) {
        rows.emplace(cursor.key(), cursor.value());
      }
    }
    return tables;
  }

  std::string state_dir;
  std::unique_ptr<LmdbEnv> env;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<WriteTxn> txn;
  ManualClock clock;
  NodeId root;
  std::string all_bytes;  // of every record appended, as a pack would hold them
};

}  // namespace holdfast
