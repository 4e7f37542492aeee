// A random history of a tree, and a model of it: every path at every moment, kept beside the
// journal in plain maps.
#pragma once

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/path.h"
#include "service/state.h"
#include "tests/journal/journal_fixture.h"

namespace holdfast {

struct HistoryFixture : JournalFixture {
  struct Object {
    FileType type = FileType::kFile;
    uint64_t inode = 0, size = 0, links = 1;
    uint32_t mode = 0644;
  };
  using Names = std::map<std::pair<uint64_t, std::string>, uint64_t>;  // (parent, name) -> node
  struct Version {
    uint64_t node = 0;
    Record record;
  };
  using Paths = std::map<std::string, Version>;

  HistoryFixture() {
    state.journal = must(Journal::open(*env, test_key()));
    add_root();
    objects[root.value] = {FileType::kDir, 1};
    Record record = node_record(RecordKind::kAttrib, root, {}, "data", 1, FileType::kDir);
    names[{0, "data"}] = root.value;
    keep(record);
  }

  uint64_t below(uint64_t bound) { return random() % bound; }
  std::string some_name() { return std::string(1, static_cast<char>('a' + below(5))); }
  uint64_t some_dir() {
    std::vector<uint64_t> dirs;
    for (const auto& [place, node] : names) {
      if (objects[node].type == FileType::kDir) dirs.push_back(node);
    }
    return dirs[below(dirs.size())];
  }
  std::optional<Names::value_type> some_entry(FileType type) {
    std::vector<Names::value_type> all;
    for (const auto& entry : names) {
      if (entry.first.first != 0 && objects[entry.second].type == type) all.push_back(entry);
    }
    if (all.empty()) return std::nullopt;
    return all[below(all.size())];
  }
  bool is_empty(uint64_t dir) const {
    const auto first = names.lower_bound({dir, ""});
    return first == names.end() || first->first.first != dir;
  }
  bool is_within(uint64_t node, uint64_t above) const {
    while (node != 0 && node != above) {
      uint64_t parent = 0;
      for (const auto& [place, child] : names) {
        if (child == node) parent = place.first;
      }
      node = parent;
    }
    return node == above;
  }

  Record record_of(RecordKind kind, uint64_t node, uint64_t parent, const std::string& name) {
    const Object& object = objects[node];
    Record record = node_record(kind, {node}, {parent}, name, object.inode, object.type);
    record.stat.mode = (object.type == FileType::kDir ? 0040000u : 0100000u) | object.mode;
    record.stat.size = object.size;
    record.stat.mtime_ns = static_cast<int64_t>(object.size);
    record.stat.nlink = static_cast<uint32_t>(object.links);
    record.hash.bytes[0] = static_cast<uint8_t>(object.size);
    return record;
  }
  // Journals it and takes down what all paths are now.
  void keep(Record record) {
    REQUIRE(try_append(record).ok());
    newest[record.node.value] = record;
    Paths& paths = moments[record.seq.value];
    std::vector<std::pair<uint64_t, std::string>> dirs{{root.value, ""}};
    while (!dirs.empty()) {
      const auto [dir, path] = dirs.back();
      dirs.pop_back();
      for (auto at = names.lower_bound({dir, ""}); at != names.end() && at->first.first == dir;
           ++at) {
        const std::string below_path = join_path(path, at->first.second);
        paths[below_path] = {at->second, newest[at->second]};
        if (objects[at->second].type == FileType::kDir) dirs.emplace_back(at->second, below_path);
      }
    }
    records.push_back(std::move(record));
  }

  void create(FileType type) {
    const uint64_t parent = some_dir();
    const std::string name = some_name();
    const auto held = names.find({parent, name});
    if (held != names.end()) {
      if (objects[held->second].type == FileType::kDir || type == FileType::kDir) return;
      --objects[held->second].links;
    }
    const uint64_t node = new_node().value;
    objects[node] = {type, next_inode++, below(200)};
    names[{parent, name}] = node;
    keep(record_of(RecordKind::kCreate, node, parent, name));
  }
  void link() {
    const auto entry = some_entry(FileType::kFile);
    const std::pair<uint64_t, std::string> place{some_dir(), some_name()};
    if (!entry || names.contains(place)) return;
    ++objects[entry->second].links;
    names[place] = entry->second;
    keep(record_of(RecordKind::kLink, entry->second, place.first, place.second));
  }
  void change(FileType type) {
    const auto entry = some_entry(type);
    if (!entry) return;
    Object& object = objects[entry->second];
    const bool content = type == FileType::kFile && below(3) != 0;
    if (content) object.size = below(200);
    if (!content) object.mode = below(2) == 0 ? 0600 : 0644;
    keep(record_of(content ? RecordKind::kModify : RecordKind::kAttrib, entry->second,
                   entry->first.first, entry->first.second));
  }
  void remove() {
    const auto entry = some_entry(below(3) == 0 ? FileType::kDir : FileType::kFile);
    if (!entry || !is_empty(entry->second)) return;
    names.erase(entry->first);
    --objects[entry->second].links;
    keep(record_of(RecordKind::kDelete, entry->second, entry->first.first, entry->first.second));
  }
  void rename(FileType type) {
    const auto entry = some_entry(type);
    const std::pair<uint64_t, std::string> to{some_dir(), some_name()};
    if (!entry || entry->first == to || is_within(to.first, entry->second)) return;
    const auto held = names.find(to);
    if (held != names.end()) {
      const bool fits = held->second != entry->second && is_empty(held->second) &&
                        objects[held->second].type == type && held->second != to.first;
      if (!fits) return;
      --objects[held->second].links;
    }
    names.erase(entry->first);
    names[to] = entry->second;
    Record record = record_of(RecordKind::kRename, entry->second, to.first, to.second);
    record.from_parent = {entry->first.first};
    record.from_name = entry->first.second;
    keep(record);
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      switch (below(10)) {
        case 0: create(FileType::kDir); break;
        case 1:
        case 2: create(FileType::kFile); break;
        case 3: link(); break;
        case 4:
        case 5: change(FileType::kFile); break;
        case 6: change(FileType::kDir); break;
        case 7: remove(); break;
        case 8: rename(FileType::kFile); break;
        default: rename(FileType::kDir); break;
      }
    }
    commit();
  }

  std::mt19937_64 random;
  State state;  // with a journal only
  std::map<uint64_t, Object> objects;
  Names names;
  std::map<uint64_t, Record> newest;
  std::map<uint64_t, Paths> moments;  // by sequence
  std::vector<Record> records;
  uint64_t next_inode = 100;
};

}  // namespace holdfast
