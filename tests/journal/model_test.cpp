// Random operations against a model in memory: the state at every sequence, the inode table, and a
// replay of all records into a fresh environment.
#include <random>

#include "base/bytes.h"
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

using State = std::map<std::pair<uint64_t, std::string>, uint64_t>;  // (parent, name) -> node

struct ModelFixture : JournalFixture {
  struct Node {
    uint64_t inode = 0;
    FileType type = FileType::kFile;
    uint64_t size = 0;
  };

  std::mt19937_64 random;
  State state;
  std::map<uint64_t, Node> nodes;
  std::map<uint64_t, State> states;  // by sequence
  std::map<uint64_t, std::map<uint64_t, uint64_t>>
      sizes;  // by sequence: node -> size of its version
  std::map<uint64_t, uint64_t> present_sizes;
  uint64_t next_inode = 100;
  Sequence batch_first{1};

  uint64_t below(uint64_t bound) { return random() % bound; }
  std::string some_name() {
    static const std::vector<std::string> kNames = {
        "a", "b", "ab", "a\nb", "\xff\xfe", "c", "d", std::string(255, 'x'), "e", "a b"};
    return kNames[below(kNames.size())];
  }
  uint64_t some_dir() {
    std::vector<uint64_t> dirs = {root.value};
    for (const auto& [place, node] : state) {
      if (nodes[node].type == FileType::kDir) dirs.push_back(node);
    }
    return dirs[below(dirs.size())];
  }
  std::optional<State::value_type> some_entry(bool files_only) {
    std::vector<State::value_type> all;
    for (const auto& entry : state) {
      if (entry.first.first == 0) continue;  // not the root itself
      if (!files_only || nodes[entry.second].type == FileType::kFile) all.push_back(entry);
    }
    if (all.empty()) return std::nullopt;
    return all[below(all.size())];
  }
  bool empty_dir(uint64_t node) const {
    const auto first = state.lower_bound({node, ""});
    return first == state.end() || first->first.first != node;
  }
  bool is_within(uint64_t node, uint64_t ancestor) const {
    for (uint64_t at = node; at != 0;) {
      if (at == ancestor) return true;
      uint64_t parent = 0;
      for (const auto& [place, child] : state) {
        if (child == at) parent = place.first;
      }
      at = parent;
    }
    return false;
  }
  Record record_of(RecordKind kind, uint64_t node, uint64_t parent, const std::string& name) {
    Record record = node_record(kind, {node}, {parent}, name, nodes[node].inode, nodes[node].type);
    record.stat.size = nodes[node].size;
    return record;
  }
  void journal_it(const Record& record) {
    const Sequence seq = append(record);
    present_sizes[record.node.value] = record.stat.size;
    states[seq.value] = state;
    sizes[seq.value] = present_sizes;
    if (below(5) == 0) {
      must(journal->end_batch(write(), batch_first, seq));
      batch_first.value = seq.value + 1;
    }
    if (below(20) == 0) commit();
  }

  void create_step() {
    const uint64_t parent = some_dir();
    const std::string name = some_name();
    const auto held = state.find({parent, name});
    if (held != state.end() && nodes[held->second].type == FileType::kDir) return;
    const uint64_t node = new_node().value;
    const bool is_dir = held == state.end() && below(4) == 0;
    nodes[node] = {next_inode++, is_dir ? FileType::kDir : FileType::kFile, below(1000)};
    Record record = record_of(RecordKind::kCreate, node, parent, name);
    if (held != state.end()) record.flags = kFlagReplaced;
    state[{parent, name}] = node;
    journal_it(record);
  }
  void link_step() {
    const auto entry = some_entry(true);
    if (!entry) return;
    const uint64_t parent = some_dir();
    const std::string name = some_name();
    if (state.contains({parent, name})) return;
    state[{parent, name}] = entry->second;
    journal_it(record_of(RecordKind::kLink, entry->second, parent, name));
  }
  void change_step() {
    const auto entry = some_entry(false);
    if (!entry) return;
    const auto& [place, node] = *entry;
    nodes[node].size = below(1000);
    if (below(6) == 0) nodes[node].inode = next_inode++;
    const RecordKind kinds[] = {RecordKind::kModify, RecordKind::kAttrib, RecordKind::kVerify,
                                RecordKind::kHeal, RecordKind::kAccept};
    journal_it(record_of(kinds[below(5)], node, place.first, place.second));
  }
  void delete_step() {
    const auto entry = some_entry(false);
    if (!entry || !empty_dir(entry->second)) return;
    const auto& [place, node] = *entry;
    state.erase(place);
    journal_it(record_of(RecordKind::kDelete, node, place.first, place.second));
  }
  void rename_step() {
    const auto entry = some_entry(false);
    if (!entry) return;
    const auto& [place, node] = *entry;
    const std::pair<uint64_t, std::string> target{some_dir(), some_name()};
    const auto held = state.find(target);
    if (held != state.end() && (held->second == node || !empty_dir(held->second))) return;
    if (is_within(target.first, node)) return;
    if (held != state.end() && held->second == target.first) return;
    state.erase(place);
    state[target] = node;
    Record record = record_of(RecordKind::kRename, node, target.first, target.second);
    record.from_parent = {place.first};
    record.from_name = place.second;
    journal_it(record);
  }
  void run(int steps) {
    std::string booted;
    must(journal->boot(write(), clock, booted));
    all_bytes += booted;
    add_root();
    nodes[root.value] = {1, FileType::kDir, 0};
    state[{0, "data"}] = root.value;
    for (int i = 0; i < steps; ++i) {
      switch (below(7)) {
        case 0:
        case 1: create_step(); break;
        case 2: link_step(); break;
        case 3: change_step(); break;
        case 4: delete_step(); break;
        default: rename_step(); break;
      }
    }
  }
  State state_at(Sequence seq) {
    State found;
    std::vector<uint64_t> parents = {0};
    while (!parents.empty()) {
      const uint64_t parent = parents.back();
      parents.pop_back();
      must(journal->for_each_entry(reader(), {parent}, seq, [&](const Entry& entry) {
        found[{parent, entry.name}] = entry.node.value;
        if (entry.type == FileType::kDir) parents.push_back(entry.node.value);
        return Visit::kContinue;
      }));
    }
    return found;
  }
};

}  // namespace

TEST_CASE_METHOD(ModelFixture, "random operations match a model at every sequence", "[journal]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  random.seed(seed);
  run(1500);
  for (const auto& [seq, expected] : states) {
    INFO("at @" << seq);
    REQUIRE(state_at({seq}) == expected);
    if (seq % 50 != 0) continue;
    for (const auto& [node, size] : sizes[seq]) {
      const auto version = must(journal->version(reader(), {node}, {seq}));
      REQUIRE(version.has_value());
      REQUIRE(version->stat.size == size);
    }
  }
  std::map<uint64_t, uint32_t> counted;  // names by inode
  for (const auto& [place, node] : state) ++counted[nodes[node].inode];
  for (uint64_t inode = 1; inode < next_inode; ++inode) {
    INFO("inode " << inode);
    REQUIRE(names_of_inode(inode) == (counted.contains(inode) ? counted[inode] : 0));
  }
  require_sound();
}

TEST_CASE_METHOD(ModelFixture, "every present path is found again from its directory",
                 "[journal]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  random.seed(seed);
  run(400);
  for (const auto& [place, node] : state) {
    if (place.first == 0) continue;
    const std::string dir = must(journal->dir_path(reader(), {place.first}, kLatest));
    const std::string path = dir.empty() ? place.second : dir + "/" + place.second;
    REQUIRE(must(journal->locate(reader(), root, path, kLatest)).node.value == node);
  }
}

TEST_CASE_METHOD(ModelFixture, "replaying all records gives the same tables", "[journal]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  random.seed(seed);
  run(800);
  Record pin;
  pin.kind = RecordKind::kSnapshot;
  pin.prev = head().seq;
  pin.note = "end";
  append(pin);
  must(journal->end_batch(write(), batch_first, head().seq));

  JournalFixture copy;
  const Dbi times = table("times");
  const auto read = must(env->begin_read());
  Cursor batches = must(Cursor::open(*read, times));
  bool more = must(batches.first());
  for (const std::string_view bytes : must(split_records(all_bytes))) {
    must(copy.journal->replay(copy.write(), bytes));
    const Record record = must(decode_record(bytes));
    const auto first = get_le<uint64_t>(batches.value().data());
    const auto last = get_le<uint64_t>(batches.value().data() + 8);
    if (!more || record.seq.value != last) continue;
    must(copy.journal->end_batch(copy.write(), {first}, {last}));
    more = must(batches.next());
  }
  REQUIRE_FALSE(more);
  const Tables expected = dump();
  const Tables found = copy.dump();
  for (const auto& [name, rows] : expected) {
    INFO("table " << name);
    REQUIRE(found.at(name) == rows);
  }
  copy.require_sound();
}

TEST_CASE_METHOD(JournalFixture, "replay refuses what does not fit", "[journal]") {
  add_root();
  create(root, "a", 10);
  create(root, "b", 11);
  const auto records = must(split_records(all_bytes));
  JournalFixture copy;
  const auto refused = [&](std::string_view bytes) {
    const Status status = copy.journal->replay(copy.write(), bytes);
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().code == ErrorCode::kDamaged);
  };
  refused(records[1]);
  must(copy.journal->replay(copy.write(), records[0]));
  refused(records[0]);
  refused(records[2]);
  std::string flipped(records[1]);
  flipped[30] = static_cast<char>(flipped[30] ^ 1);
  refused(flipped);
  refused(records[1].substr(0, records[1].size() - 1));
  must(copy.journal->replay(copy.write(), records[1]));
  must(copy.journal->replay(copy.write(), records[2]));
  REQUIRE(copy.head().chain == head().chain);

  // Of another repository: the chain is keyed.
  JournalFixture other;
  ChunkKey key = test_key();
  key[0] ^= 1;
  other.journal = must(Journal::open(*other.env, key));
  REQUIRE(other.journal->replay(other.write(), records[0]).error().code == ErrorCode::kDamaged);
}
