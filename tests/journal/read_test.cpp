// Questions about any moment.
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

TEST_CASE_METHOD(JournalFixture, "entries come in byte order and stop when told", "[journal]") {
  add_root();
  const std::vector<std::string> sorted = {"-", "a",    "a\nb", "a!", "aa", std::string(255, 'n'),
                                           "z", "\x80", "\xff"};
  for (auto name = sorted.rbegin(); name != sorted.rend(); ++name) create(root, *name, 0);
  REQUIRE(names(root) == sorted);
  for (const std::string& name : sorted) REQUIRE(at(root, name).value != 0);
  int visited = 0;
  must(journal->for_each_entry(reader(), root, kLatest, [&](const Entry&) {
    return ++visited == 3 ? Visit::kStop : Visit::kContinue;
  }));
  REQUIRE(visited == 3);
  REQUIRE(at(root, "").value == 0);
  REQUIRE(at(root, std::string(256, 'n')).value == 0);
  REQUIRE(at(root, std::string("a\0", 2)).value == 0);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a name with a long history is skipped, at any moment",
                 "[journal]") {
  add_root();
  create(root, "before", 5);
  const NodeId file = create(root, "m", 10);
  std::vector<std::pair<Sequence, bool>> moments = {{head().seq, true}};
  for (int i = 0; i < 50; ++i) {
    moments.emplace_back(change(RecordKind::kDelete, file, root, "m", 10), false);
    moments.emplace_back(change(RecordKind::kLink, file, root, "m", 10), true);
  }
  create(root, "next", 6);
  for (const auto& [seq, there] : moments) {
    std::vector<std::string> expected = {"before"};
    if (there) expected.push_back("m");
    REQUIRE(names(root, seq) == expected);
    REQUIRE((at(root, "m", seq) == file) == there);
  }
  REQUIRE(names(root) == std::vector<std::string>{"before", "m", "next"});
  REQUIRE(names(root, Sequence{1}).empty());
  REQUIRE(must(journal->name_spans(reader(), root, "m")).size() == 51);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a walk of the entries may append records", "[journal]") {
  add_root();
  for (uint64_t i = 0; i < 300; ++i) create(root, "f" + std::to_string(1000 + i), 100 + i);
  const Sequence before = head().seq;
  std::vector<std::string> visited;
  must(journal->for_each_entry(reader(), root, kLatest, [&](const Entry& entry) {
    visited.push_back(entry.name);
    const Record last = *must(journal->version(reader(), entry.node, kLatest));
    change(RecordKind::kDelete, entry.node, root, entry.name, last.stat.inode);
    return Visit::kContinue;
  }));
  REQUIRE(visited.size() == 300);
  REQUIRE(names(root).empty());
  REQUIRE(names(root, before) == visited);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "names that begin alike do not mix", "[journal]") {
  add_root();
  const NodeId a = create(root, "a", 10);
  const NodeId ab = create(root, "ab", 11);
  change(RecordKind::kDelete, ab, root, "ab", 11);
  REQUIRE(at(root, "a") == a);
  REQUIRE(at(root, "ab").value == 0);
  REQUIRE(must(journal->name_spans(reader(), root, "a")).size() == 1);
  REQUIRE(at(NodeId{root.value + 1}, "a").value == 0);
}

TEST_CASE_METHOD(JournalFixture, "versions of a node, both ways", "[journal]") {
  add_root();
  const NodeId file = create(root, "a", 10);
  create(root, "b", 11);
  change(RecordKind::kModify, file, root, "a", 10);
  change(RecordKind::kDelete, file, root, "a", 10);
  std::vector<uint64_t> seen;
  const auto collect = [&](const Record& record) {
    seen.push_back(record.seq.value);
    return seen.size() == 4 ? Visit::kStop : Visit::kContinue;
  };
  must(journal->for_each_version(reader(), file, false, collect));
  REQUIRE(seen == std::vector<uint64_t>{2, 4, 5});
  seen.clear();
  must(journal->for_each_version(reader(), file, true, collect));
  REQUIRE(seen == std::vector<uint64_t>{5, 4, 2});
  seen.clear();
  must(journal->for_each_record(reader(), Sequence{2}, false, collect));
  REQUIRE(seen == std::vector<uint64_t>{2, 3, 4, 5});
  seen.clear();
  must(journal->for_each_record(reader(), kLatest, true, collect));
  REQUIRE(seen == std::vector<uint64_t>{5, 4, 3, 2});
}

TEST_CASE_METHOD(JournalFixture, "paths of directories that are gone", "[journal]") {
  add_root();
  const NodeId dir = create(root, "dir", 20, FileType::kDir);
  const NodeId sub = create(dir, "sub", 21, FileType::kDir);
  const Sequence there = head().seq;
  REQUIRE(must(journal->dir_path(reader(), root, kLatest)).empty());
  REQUIRE(must(journal->dir_path(reader(), sub, kLatest)) == "dir/sub");
  change(RecordKind::kDelete, dir, root, "dir", 20, FileType::kDir);
  // The parent went with all that is below it, though no record speaks of the child.
  REQUIRE(journal->dir_path(reader(), sub, kLatest).error().code == ErrorCode::kNotFound);
  REQUIRE(must(journal->dir_path(reader(), sub, there)) == "dir/sub");
  REQUIRE(journal->dir_path(reader(), NodeId{999}, kLatest).error().code == ErrorCode::kNotFound);
  REQUIRE(journal->dir_path(reader(), sub, Sequence{1}).error().code == ErrorCode::kNotFound);
}

TEST_CASE_METHOD(JournalFixture, "locating a path", "[journal]") {
  add_root();
  const NodeId dir = create(root, "dir", 20, FileType::kDir);
  const NodeId file = create(dir, "f", 21);
  Located located = must(journal->locate(reader(), root, "dir/f", kLatest));
  REQUIRE(located.root == root);
  REQUIRE(located.parent == dir);
  REQUIRE(located.name == "f");
  REQUIRE(located.node == file);
  REQUIRE(located.type == FileType::kFile);
  located = must(journal->locate(reader(), root, "", kLatest));
  REQUIRE(located.node == root);
  REQUIRE(located.type == FileType::kDir);
  REQUIRE(located.name == "data");
  REQUIRE(must(journal->locate(reader(), root, "dir/", kLatest)).node == dir);
  const auto missing = journal->locate(reader(), root, "dir/x/y", kLatest);
  REQUIRE(missing.error().code == ErrorCode::kNotFound);
  REQUIRE(missing.error().message.find("'dir/x'") != std::string::npos);
  REQUIRE_FALSE(journal->locate(reader(), root, "dir/../dir", kLatest).ok());
  REQUIRE_FALSE(journal->locate(reader(), root, "dir/f/x", kLatest).ok());
  REQUIRE_FALSE(journal->locate(reader(), NodeId{99}, "", kLatest).ok());
}

TEST_CASE_METHOD(JournalFixture, "a reader sees what was committed before it began", "[journal]") {
  add_root();
  commit();
  const auto before = must(env->begin_read());
  create(root, "a", 10);
  REQUIRE_FALSE(must(journal->entry(*before, root, "a", kLatest)).has_value());
  commit();
  REQUIRE_FALSE(must(journal->entry(*before, root, "a", kLatest)).has_value());
  const auto after = must(env->begin_read());
  REQUIRE(must(journal->entry(*after, root, "a", kLatest)).has_value());
}

TEST_CASE_METHOD(JournalFixture, "an aborted batch leaves no trace", "[journal]") {
  add_root();
  must(journal->end_batch(write(), Sequence{1}, Sequence{1}));
  const Tables before = dump();
  create(root, "a", 10);
  must(journal->end_batch(write(), Sequence{2}, Sequence{2}));
  txn.reset();
  REQUIRE(dump() == before);
}
