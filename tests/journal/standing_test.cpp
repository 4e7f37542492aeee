// Verdicts that stay open: what opens them, what answers them, and that replay and check agree.
#include "journal/verdict.h"
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

struct StandingFixture : JournalFixture {
  StandingFixture() {
    std::string booted;
    must(journal->boot(write(), clock, booted));
    all_bytes += booted;
    add_root();
    file = create(root, "file", 20);
  }
  Sequence judge(RecordKind kind, Verdict verdict) {
    Record record = node_record(kind, file, root, "file", 20);
    record.verdict = verdict;
    return append(record);
  }
  Verdict open_verdict() {
    const auto row = must(journal->standing_of(reader(), file));
    return row ? row->verdict : Verdict::kNone;
  }
  void require_same_after_replay() {
    const Tables before = dump();
    JournalFixture other;
    for (const std::string_view record : must(split_records(all_bytes))) {
      must(other.journal->replay(other.write(), record));
    }
    REQUIRE(other.dump().at("standing") == before.at("standing"));
  }
  NodeId file;
};

}  // namespace

TEST_CASE_METHOD(StandingFixture, "a grave verdict stays open until it is answered", "[standing]") {
  CHECK(open_verdict() == Verdict::kNone);
  const Sequence since = judge(RecordKind::kVerify, Verdict::kCorrupt);
  CHECK(must(journal->standing_of(reader(), file))->since == since);
  SECTION("edits, deletes and good readings do not end it") {
    judge(RecordKind::kModify, Verdict::kModified);
    judge(RecordKind::kVerify, Verdict::kOk);
    change(RecordKind::kDelete, file, root, "file", 20);
    CHECK(open_verdict() == Verdict::kCorrupt);
  }
  SECTION("what an event shows does not take over") {
    judge(RecordKind::kModify, Verdict::kCorrupt);
    CHECK(must(journal->standing_of(reader(), file))->since == since);
  }
  SECTION("a finding of a later version does, and a milder one does not") {
    const Sequence later = judge(RecordKind::kVerify, Verdict::kCorrupt);
    judge(RecordKind::kVerify, Verdict::kReadError);
    CHECK(must(journal->standing_of(reader(), file))->since == later);
  }
  SECTION("accepted") {
    judge(RecordKind::kAccept, Verdict::kOk);
    CHECK(open_verdict() == Verdict::kNone);
  }
  SECTION("healed") {
    judge(RecordKind::kHeal, Verdict::kOk);
    CHECK(open_verdict() == Verdict::kNone);
  }
  SECTION("answered by its sequence, when the file is gone") {
    change(RecordKind::kDelete, file, root, "file", 20);
    Record answer;
    answer.kind = RecordKind::kAccept;
    answer.root = root;
    answer.prev = Sequence{since.value - 1};
    append(answer);
    CHECK(open_verdict() == Verdict::kCorrupt);  // that was about something else
    answer.prev = since;
    append(answer);
    CHECK(open_verdict() == Verdict::kNone);
  }
  require_sound();
  require_same_after_replay();
}

TEST_CASE_METHOD(StandingFixture, "a reading that failed ends with one that succeeds",
                 "[standing]") {
  judge(RecordKind::kVerify, Verdict::kReadError);
  CHECK(open_verdict() == Verdict::kReadError);
  judge(RecordKind::kModify, Verdict::kModified);
  CHECK(open_verdict() == Verdict::kReadError);
  SECTION("read again") {
    judge(RecordKind::kVerify, Verdict::kOk);
    CHECK(open_verdict() == Verdict::kNone);
  }
  SECTION("and found to be worse") {
    judge(RecordKind::kVerify, Verdict::kCorrupt);
    CHECK(open_verdict() == Verdict::kCorrupt);
    judge(RecordKind::kVerify, Verdict::kReadError);
    CHECK(open_verdict() == Verdict::kCorrupt);
  }
  require_sound();
  require_same_after_replay();
}

TEST_CASE_METHOD(StandingFixture, "nodes are visited in order, each with its version",
                 "[standing]") {
  const NodeId second = create(root, "second", 21);
  const Sequence before = head().seq;
  judge(RecordKind::kModify, Verdict::kModified);
  const NodeId third = create(root, "third", 22);
  std::vector<std::pair<NodeId, Sequence>> seen;
  const auto visit = [&](const Record& record) {
    seen.emplace_back(record.node, record.seq);
    return Visit::kContinue;
  };
  must(journal->for_each_node(reader(), file, kLatest, visit));
  REQUIRE(seen.size() == 3);
  CHECK((seen[0].first == file && seen[1].first == second && seen[2].first == third));
  CHECK(seen[0].second > before);
  seen.clear();
  must(journal->for_each_node(reader(), NodeId{1}, before, visit));
  REQUIRE(seen.size() == 3);  // the root, and two of the files
  CHECK(seen[1].second < before);
}
