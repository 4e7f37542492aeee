// What each kind of record does to the tables.
#include <algorithm>

#include "base/bytes.h"
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

TEST_CASE_METHOD(JournalFixture, "an empty journal answers", "[journal]") {
  const Head empty = head();
  REQUIRE(empty.seq.value == 0);
  REQUIRE(empty.next_node == 1);
  REQUIRE(must(journal->roots(reader())).empty());
  REQUIRE(must(journal->snapshots(reader())).empty());
  REQUIRE(names(NodeId{}).empty());
  REQUIRE_FALSE(must(journal->version(reader(), NodeId{1}, kLatest)).has_value());
  REQUIRE(journal->record(reader(), Sequence{1}).error().code == ErrorCode::kNotFound);
  REQUIRE(journal->boot_id(reader(), 1).error().code == ErrorCode::kNotFound);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "append fills in sequence, times, boot and chain", "[journal]") {
  std::string booted;
  REQUIRE(must(journal->boot(write(), clock, booted)) == 1);
  REQUIRE_FALSE(booted.empty());
  add_root();
  Record record = node_record(RecordKind::kCreate, new_node(), root, "a", 10);
  must(try_append(record));
  REQUIRE(record.seq.value == 3);
  REQUIRE(record.wall_ns == clock.wall);
  REQUIRE(record.time_ns == clock.wall);
  REQUIRE(record.boottime_ns == clock.boottime);
  REQUIRE(record.boot == 1);
  REQUIRE(head().seq == record.seq);
  REQUIRE(head().chain == record.chain);
  REQUIRE(head().wall_ns == clock.wall);
  REQUIRE(head().next_node == 3);
  REQUIRE(must(journal->record(reader(), record.seq)) == record);
  REQUIRE(must(journal->boot_id(reader(), 1)) == clock.boot);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a boot is journaled once, and again when it comes back",
                 "[journal]") {
  std::string booted;
  REQUIRE(must(journal->boot(write(), clock, booted)) == 1);
  REQUIRE(must(journal->boot(write(), clock, booted)) == 1);
  REQUIRE(booted.empty());
  clock.boot = "00000000-0000-0000-0000-000000000002";
  REQUIRE(must(journal->boot(write(), clock, booted)) == 2);
  REQUIRE(must(decode_record(booted)).note == "boot " + clock.boot);
  add_root();
  REQUIRE(must(journal->record(reader(), head().seq)).boot == 2);
  clock.boot = "00000000-0000-0000-0000-000000000001";
  REQUIRE(must(journal->boot(write(), clock, booted)) == 1);
  REQUIRE_FALSE(booted.empty());
  REQUIRE(must(journal->boot_id(reader(), 2)) == "00000000-0000-0000-0000-000000000002");
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a clock that stands still or goes back does not stop time",
                 "[journal]") {
  add_root();
  const int64_t before = head().time_ns;
  clock.wall -= 3'600'000'000'000;
  Record record = node_record(RecordKind::kCreate, new_node(), root, "a", 10);
  must(try_append(record));
  REQUIRE(record.time_ns == before + 1);
  REQUIRE(record.wall_ns == clock.wall);
}

TEST_CASE_METHOD(JournalFixture, "roots are registered, and found again with a new path",
                 "[journal]") {
  add_root("uploads", "/srv/uploads");
  auto roots = must(journal->roots(reader()));
  REQUIRE(roots.size() == 1);
  REQUIRE(roots[0].node == root);
  REQUIRE(roots[0].name == "uploads");
  REQUIRE(roots[0].path == "/srv/uploads");
  REQUIRE(at({}, "uploads") == root);
  Record moved = node_record(RecordKind::kAttrib, root, {}, "uploads", 1, FileType::kDir);
  moved.flags = kFlagRootAdded;
  moved.note = "/mnt/uploads";
  append(moved);
  roots = must(journal->roots(reader()));
  REQUIRE(roots.size() == 1);
  REQUIRE(roots[0].path == "/mnt/uploads");
  // A service record may register a root as well, with or without being about its node.
  Record service;
  service.kind = RecordKind::kService;
  service.flags = kFlagRootAdded;
  service.root = new_node();
  service.name = "other";
  service.note = "/other";
  append(service);
  REQUIRE(must(journal->roots(reader())).size() == 2);
  // Without a path it is a virtual one.
  service.root = new_node();
  service.name = "virtual";
  service.note.clear();
  append(service);
  roots = must(journal->roots(reader()));
  REQUIRE(roots.size() == 3);
  REQUIRE(std::count_if(roots.begin(), roots.end(),
                        [](const Root& each) { return each.is_virtual(); }) == 1);
}

TEST_CASE_METHOD(JournalFixture, "create, modify, delete", "[journal]") {
  add_root();
  const NodeId file = create(root, "a", 10);
  const Sequence created = head().seq;
  Record modify = node_record(RecordKind::kModify, file, root, "a", 10);
  modify.stat.size = 99;
  const Sequence modified = append(modify);
  const Sequence deleted = change(RecordKind::kDelete, file, root, "a", 10);
  REQUIRE_FALSE(at(root, "a", Sequence{created.value - 1}).value);
  REQUIRE(at(root, "a", created) == file);
  REQUIRE(at(root, "a", modified) == file);
  REQUIRE_FALSE(at(root, "a", deleted).value);
  REQUIRE(must(journal->version(reader(), file, created))->stat.size == 0);
  REQUIRE(must(journal->version(reader(), file, modified))->stat.size == 99);
  REQUIRE(must(journal->version(reader(), file, kLatest))->kind == RecordKind::kDelete);
  REQUIRE_FALSE(must(journal->version(reader(), file, Sequence{1})).has_value());
  REQUIRE(names_of_inode(10) == 0);
  REQUIRE(must(journal->entry(reader(), root, "a", modified))->since == created);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "hard links share a node until the last is gone", "[journal]") {
  add_root();
  const NodeId file = create(root, "a", 10);
  change(RecordKind::kLink, file, root, "b", 10);
  change(RecordKind::kLink, file, root, "c", 10);
  REQUIRE(names_of_inode(10) == 3);
  change(RecordKind::kDelete, file, root, "a", 10);
  REQUIRE(names_of_inode(10) == 2);
  REQUIRE(names(root) == std::vector<std::string>{"b", "c"});
  REQUIRE(at(root, "b") == file);
  append(rename_record(file, root, "b", root, "d", 10));
  REQUIRE(names_of_inode(10) == 2);
  change(RecordKind::kDelete, file, root, "c", 10);
  REQUIRE(node_of_inode(10) == file);
  change(RecordKind::kDelete, file, root, "d", 10);
  REQUIRE(node_of_inode(10).value == 0);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a file replaced by another one loses its name", "[journal]") {
  add_root();
  const NodeId old = create(root, "a", 10);
  change(RecordKind::kLink, old, root, "kept", 10);
  const Sequence before = head().seq;
  Record record = node_record(RecordKind::kCreate, new_node(), root, "a", 11);
  record.flags = kFlagReplaced;
  record.prev = before;
  append(record);
  REQUIRE(at(root, "a") == record.node);
  REQUIRE(at(root, "a", before) == old);
  REQUIRE(at(root, "kept") == old);
  REQUIRE(names_of_inode(10) == 1);
  REQUIRE(names_of_inode(11) == 1);
  Record again = node_record(RecordKind::kCreate, new_node(), root, "kept", 12);
  again.flags = kFlagReplaced;
  append(again);
  REQUIRE(names_of_inode(10) == 0);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a rename over an existing file", "[journal]") {
  add_root();
  const NodeId target = create(root, "target", 10);
  const NodeId source = create(root, "source", 11);
  const Sequence before = head().seq;
  append(rename_record(source, root, "source", root, "target", 11));
  REQUIRE(at(root, "target") == source);
  REQUIRE(at(root, "source").value == 0);
  REQUIRE(names(root) == std::vector<std::string>{"target"});
  REQUIRE(names(root, before) == std::vector<std::string>{"source", "target"});
  REQUIRE(node_of_inode(10).value == 0);
  REQUIRE(names_of_inode(11) == 1);
  REQUIRE(must(journal->version(reader(), target, kLatest))->seq.value == 2);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "rename away and back", "[journal]") {
  add_root();
  const NodeId file = create(root, "a", 10);
  const Sequence first = head().seq;
  const Sequence away = append(rename_record(file, root, "a", root, "b", 10));
  const Sequence back = append(rename_record(file, root, "b", root, "a", 10));
  REQUIRE(names(root, first) == std::vector<std::string>{"a"});
  REQUIRE(names(root, away) == std::vector<std::string>{"b"});
  REQUIRE(names(root, back) == std::vector<std::string>{"a"});
  const auto spans = must(journal->name_spans(reader(), root, "a"));
  REQUIRE(spans.size() == 2);
  REQUIRE(spans[0].since == back);
  REQUIRE(spans[0].until.value == 0);
  REQUIRE(spans[1].since == first);
  REQUIRE(spans[1].until == away);
  REQUIRE(names_of_inode(10) == 1);
  append(rename_record(file, root, "a", root, "a", 10));  // onto itself: nothing changes
  REQUIRE(names_of_inode(10) == 1);
  REQUIRE(at(root, "a") == file);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "renaming a directory is one record, whatever is below",
                 "[journal]") {
  add_root();
  const NodeId dir = create(root, "dir", 20, FileType::kDir);
  const NodeId sub = create(dir, "sub", 21, FileType::kDir);
  for (uint64_t i = 0; i < 100; ++i) create(sub, "f" + std::to_string(i), 100 + i);
  commit();
  const auto count = [&] {
    const Dbi entries = table("entries");
    return must(must(env->begin_read())->entry_count(entries));
  };
  const uint64_t rows = count();
  const Sequence before = head().seq;
  append(rename_record(dir, root, "dir", root, "moved", 20, FileType::kDir));
  REQUIRE(count() == rows + 2);
  REQUIRE(must(journal->dir_path(reader(), sub, before)) == "dir/sub");
  REQUIRE(must(journal->dir_path(reader(), sub, kLatest)) == "moved/sub");
  REQUIRE(must(journal->locate(reader(), root, "moved/sub/f7", kLatest)).parent == sub);
  REQUIRE(must(journal->locate(reader(), root, "dir/sub/f7", before)).parent == sub);
  REQUIRE_FALSE(journal->locate(reader(), root, "dir/sub/f7", kLatest).ok());
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a directory cannot be renamed into itself", "[journal]") {
  add_root();
  const NodeId outer = new_node(), inner = new_node();
  for (auto [node, parent, name] : {std::tuple{outer, root, "a"}, std::tuple{inner, outer, "b"}}) {
    Record made = node_record(RecordKind::kCreate, node, parent, name, 10 + node.value);
    made.type = FileType::kDir;
    must(try_append(made));
  }
  for (const NodeId target : {outer, inner}) {
    Record moved = node_record(RecordKind::kRename, outer, target, "c", 10 + outer.value);
    moved.type = FileType::kDir;
    moved.from_parent = root;
    moved.from_name = "a";
    REQUIRE(try_append(moved).error().code == ErrorCode::kUsage);
  }
  REQUIRE(must(journal->dir_path(reader(), inner, kLatest)) == "a/b");
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a file that comes back with another inode takes its row along",
                 "[journal]") {
  add_root();
  const NodeId file = create(root, "a", 10);
  change(RecordKind::kLink, file, root, "b", 10);
  change(RecordKind::kModify, file, root, "a", 15);
  REQUIRE(node_of_inode(10).value == 0);
  REQUIRE(names_of_inode(15) == 2);
  change(RecordKind::kAttrib, file, root, "a", 0);  // not known any more
  REQUIRE(node_of_inode(15).value == 0);
  change(RecordKind::kAttrib, file, root, "a", 16);
  REQUIRE(names_of_inode(16) == 2);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "an inode that was reused belongs to the node seen last",
                 "[journal]") {
  add_root();
  const NodeId old = create(root, "old", 10);
  change(RecordKind::kLink, old, root, "old2", 10);
  const NodeId young = create(root, "young", 10);  // the delete of the old one is not known yet
  REQUIRE(node_of_inode(10) == young);
  REQUIRE(names_of_inode(10) == 1);
  change(RecordKind::kDelete, old, root, "old", 10);
  REQUIRE(node_of_inode(10) == young);
  require_sound();
  change(RecordKind::kDelete, young, root, "young", 10);
  REQUIRE(node_of_inode(10).value == 0);
  require_sound();  // the second name of the old node is explained
  change(RecordKind::kVerify, old, root, "old2", 10);
  REQUIRE(node_of_inode(10) == old);
  REQUIRE(names_of_inode(10) == 1);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture,
                 "records that contradict the journal are refused and change nothing",
                 "[journal]") {
  add_root();
  const NodeId file = create(root, "a", 10);
  const NodeId other = create(root, "b", 11);
  const Tables before = dump();
  const auto refused = [&](Record record) {
    const Status status = try_append(record);
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().code == ErrorCode::kUsage);
  };
  refused(node_record(RecordKind::kDelete, file, root, "gone", 10));
  refused(node_record(RecordKind::kDelete, other, root, "a", 11));
  refused(rename_record(file, root, "b", root, "c", 10));
  refused(node_record(RecordKind::kRename, file, root, "c", 10));
  refused(node_record(RecordKind::kCreate, file, root, "../c", 10));
  Record pin;
  pin.kind = RecordKind::kSnapshot;
  pin.prev = {1000};
  pin.note = "later";
  refused(pin);
  REQUIRE(dump() == before);
}

TEST_CASE_METHOD(JournalFixture, "a record about a node that does not describe it is no version",
                 "[journal]") {
  add_root();
  const NodeId dir = create(root, "dir", 20, FileType::kDir);
  Record gap = node_record(RecordKind::kGap, dir, root, "dir", 0);
  gap.note = "queue overflow";
  append(gap);
  REQUIRE(must(journal->version(reader(), dir, kLatest))->kind == RecordKind::kCreate);
  REQUIRE(node_of_inode(20) == dir);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "snapshots are taken, found and removed", "[journal]") {
  add_root();
  Record record;
  record.kind = RecordKind::kSnapshot;
  record.prev = head().seq;
  record.note = std::string("daily\0before the upgrade\0who=me\0empty\0x=a=b", 44);
  must(try_append(record));
  const auto found = must(journal->snapshot(reader(), "daily"));
  REQUIRE(found.has_value());
  REQUIRE(found->seq.value == 1);
  REQUIRE(found->time_ns == record.time_ns);
  REQUIRE(found->message == "before the upgrade");
  REQUIRE(found->tags == std::vector<std::pair<std::string, std::string>>{
                             {"who", "me"}, {"empty", ""}, {"x", "a=b"}});
  REQUIRE_FALSE(must(journal->snapshot(reader(), "weekly")).has_value());
  REQUIRE(try_append(record).error().code == ErrorCode::kExists);
  record.note = "bare";
  must(try_append(record));
  REQUIRE(must(journal->snapshots(reader())).size() == 2);
  REQUIRE(must(journal->snapshot(reader(), "bare"))->message.empty());
  require_sound();
  record.note = "daily";
  record.flags = kFlagSnapshotRemoved;
  must(try_append(record));
  REQUIRE_FALSE(must(journal->snapshot(reader(), "daily")).has_value());
  REQUIRE(try_append(record).error().code == ErrorCode::kNotFound);
  require_sound();
}

TEST_CASE_METHOD(JournalFixture, "a journal of a newer format is left alone", "[journal]") {
  must(journal->put_meta(write(), "format", std::string("\x03\0\0\0", 4)));
  commit();
  const auto reopened = Journal::open(*env, test_key());
  REQUIRE_FALSE(reopened.ok());
  REQUIRE(reopened.error().code == ErrorCode::kUnsupported);
  REQUIRE(reopened.error().message.find("format 3") != std::string::npos);
}

TEST_CASE_METHOD(JournalFixture, "extended attributes are sorted on the way in", "[journal]") {
  add_root();
  Record record = node_record(RecordKind::kCreate, new_node(), root, "a", 10);
  record.xattrs = {{"user.b", "1"}, {"user.a", "2"}};
  must(try_append(record));
  REQUIRE(must(journal->record(reader(), record.seq)).xattrs.front().name == "user.a");
  REQUIRE(record.xattrs.front().name == "user.a");
}

TEST_CASE_METHOD(JournalFixture, "after the last sequence nothing is journaled", "[journal]") {
  add_root();
  const Dbi meta = table("meta");
  std::string head_row(**must(env->begin_read())->get(meta, "head"));
  set_le(head_row.data(), kSequenceMax.value - 1);
  must(write().put(meta, "head", head_row));
  const NodeId file = create(root, "last", 10);
  REQUIRE(head().seq == kSequenceMax);
  Record record = node_record(RecordKind::kModify, file, root, "last", 10);
  const Status refused = try_append(record);
  REQUIRE_FALSE(refused.ok());
  REQUIRE(refused.error().code == ErrorCode::kUnsupported);
  REQUIRE(head().seq == kSequenceMax);
  REQUIRE(at(root, "last") == file);
}
