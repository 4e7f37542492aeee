// What a policy keeps: moments, words for them, and the versions that they see.
#include "journal/retention.h"

#include <random>
#include <set>

#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

constexpr int64_t kSecond = 1'000'000'000, kHour = 3600 * kSecond, kDay = 24 * kHour;
// 2026-11-21T19:30:00Z, a Saturday.
constexpr int64_t kNoon = 1'795'289'400 * kSecond;

RetentionPolicy policy(int64_t all_ns) {
  RetentionPolicy policy;
  policy.all_ns = all_ns;
  return policy;
}

}  // namespace

TEST_CASE("a policy's moments are the beginnings of hours, days, Mondays and months",
          "[retention]") {
  RetentionPolicy hours = policy(0);
  hours.hourly = 3;
  REQUIRE(kept_times(hours, kNoon) ==
          std::vector<int64_t>{kNoon - 5 * kHour / 2, kNoon - 3 * kHour / 2, kNoon - kHour / 2});
  hours.all_ns = 2 * kHour;  // what lies within `all` is kept anyhow
  REQUIRE(kept_times(hours, kNoon) == std::vector<int64_t>{kNoon - 5 * kHour / 2});

  const int64_t midnight = kNoon - 19 * kHour - kHour / 2;
  RetentionPolicy days = policy(0);
  days.daily = 2;
  REQUIRE(kept_times(days, kNoon) == std::vector<int64_t>{midnight - kDay, midnight});
  RetentionPolicy weeks = policy(0);
  weeks.weekly = 2;
  REQUIRE(kept_times(weeks, kNoon) ==
          std::vector<int64_t>{midnight - 12 * kDay, midnight - 5 * kDay});
  RetentionPolicy months = policy(0);
  months.monthly = 12;
  const auto times = kept_times(months, kNoon);
  REQUIRE(times.size() == 12);
  REQUIRE(times.back() == midnight - 20 * kDay);             // 2026-11-01
  REQUIRE(times[2] == 1'772'323'200 * kSecond - 28 * kDay);  // 2026-02-01
  REQUIRE(times.front() == 1'764'547'200 * kSecond);         // 2025-12-01
  // Moments that several rules name are there once.
  RetentionPolicy both = policy(0);
  both.hourly = both.daily = 30;
  const auto all = kept_times(both, kNoon);
  REQUIRE(std::set<int64_t>(all.begin(), all.end()).size() == all.size());
  REQUIRE(std::is_sorted(all.begin(), all.end()));
}

TEST_CASE("months before 1970 and after a leap day have their beginnings", "[retention]") {
  RetentionPolicy months = policy(0);
  months.monthly = 3;
  REQUIRE(kept_times(months, 10 * kDay) == std::vector<int64_t>{-61 * kDay, -31 * kDay, 0});
  const int64_t march_2024 = 1'709'251'200 * kSecond;
  REQUIRE(kept_times(months, march_2024 + kHour) ==
          std::vector<int64_t>{march_2024 - 60 * kDay, march_2024 - 29 * kDay, march_2024});
}

TEST_CASE("a moment sees what was there at it", "[retention]") {
  const Kept kept{Sequence{100}, {Sequence{10}, Sequence{50}}, 1};
  REQUIRE(kept.sees(Sequence{1}, Sequence{0}));    // there now
  REQUIRE(kept.sees(Sequence{1}, Sequence{101}));  // until after the time that is kept began
  REQUIRE_FALSE(kept.sees(Sequence{51}, Sequence{100}));
  REQUIRE(kept.sees(Sequence{50}, Sequence{51}));
  REQUIRE_FALSE(kept.sees(Sequence{11}, Sequence{50}));
  REQUIRE(kept.sees(Sequence{10}, Sequence{11}));
  REQUIRE_FALSE(kept.sees(Sequence{1}, Sequence{10}));
}

TEST_CASE("what is kept can be read back from its words", "[retention]") {
  for (const Kept& kept : {Kept{Sequence{1}, {}, 1}, Kept{Sequence{900}, {Sequence{3}}, 7},
                           Kept{Sequence{0}, {Sequence{1}, Sequence{2}, Sequence{77}}, 2}}) {
    const std::string words = std::string(kPruneNote) + words_for_kept(kept);
    INFO(words);
    const auto back = kept_of_words(words);
    REQUIRE(back);
    REQUIRE(back->since == kept.since);
    REQUIRE(back->moments == kept.moments);
    REQUIRE(back->last == kept.last);
  }
  REQUIRE_FALSE(kept_of_words("started 0.1.0"));
}

// Files that are made, written, renamed over, linked and removed; the model is a walk of the names
// at each kept moment.
TEST_CASE_METHOD(JournalFixture, "the versions that are visited are those that a walk finds",
                 "[retention]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  add_root("data");
  std::map<std::string, NodeId> names;
  std::map<uint64_t, Record> files;                // by node: its newest record
  std::map<uint64_t, std::set<uint64_t>> seen_at;  // by moment: the versions that a walk finds
  for (int i = 0; i < 400; ++i) {
    Record record;
    record.type = FileType::kFile;
    record.root = root;
    const std::string name(1, static_cast<char>('a' + random() % 12));
    const auto there = names.find(name);
    const auto what = random() % 6;
    if (what < 2 || there == names.end()) {
      record.kind = RecordKind::kCreate;
      record.node = must(journal->new_node(write()));
    } else {
      record = files[there->second.value];
      record.kind = what < 4    ? RecordKind::kModify
                    : what == 4 ? RecordKind::kDelete
                                : RecordKind::kRename;
    }
    record.stat.inode = record.node.value;
    std::string to = name;
    if (record.kind == RecordKind::kRename) {
      to = std::string(1, static_cast<char>('a' + random() % 12));
      record.from_parent = root;
      record.from_name = name;
      if (to == name) continue;
    }
    record.parent = root;
    record.name = to;
    record.content = {ContentKind::kChunk, {}};
    record.content.id.bytes[0] = static_cast<uint8_t>(i);
    record.content.id.bytes[1] = static_cast<uint8_t>(i >> 8);
    record.seq = append(record);
    if (record.kind == RecordKind::kDelete || record.kind == RecordKind::kRename) names.erase(name);
    if (record.kind != RecordKind::kDelete) names[to] = record.node;
    files[record.node.value] = record;
    auto& seen = seen_at[head().seq.value];  // nothing, after the only file was deleted
    for (const auto& [other, node] : names) seen.insert(files[node.value].seq.value);
  }
  const uint64_t last = head().seq.value;
  for (int round = 0; round < 30; ++round) {
    Kept kept;
    kept.since.value = last - random() % 50;
    for (uint64_t seq = 1; seq < kept.since.value; ++seq) {
      if (random() % 20 == 0) kept.moments.push_back(Sequence{seq});
    }
    std::set<uint64_t> expected;
    const auto add = [&](uint64_t moment) {
      const auto at = seen_at.upper_bound(moment);
      if (at == seen_at.begin()) return;
      expected.insert(std::prev(at)->second.begin(), std::prev(at)->second.end());
    };
    for (const Sequence moment : kept.moments) add(moment.value);
    for (uint64_t seq = kept.since.value; seq <= last; ++seq) add(seq);
    std::set<uint64_t> visited;
    std::string position;
    const size_t rows = 1 + random() % 100;
    while (must(journal->visit_kept(write(), kept, position, rows, [&](const Record& record) {
      visited.insert(record.seq.value);
      return Status();
    }))) {
    }
    REQUIRE(visited == expected);
    for (uint64_t seq = 2; seq <= last; ++seq) {
      const Record record = must(journal->record(write(), Sequence{seq}));
      if (record.type != FileType::kFile || record.kind == RecordKind::kDelete) continue;
      REQUIRE(must(journal->is_seen(write(), record, kept)) == expected.contains(seq));
    }
  }
}

TEST_CASE_METHOD(JournalFixture, "the last content that there was room for is kept",
                 "[retention]") {
  add_root("data");
  Record record = node_record(RecordKind::kCreate, new_node(), root, "file", 2);
  const auto version = [&](uint8_t content, uint32_t flags) {
    record.content = content == 0 ? ContentRef{} : ContentRef{ContentKind::kChunk, {}};
    record.content.id.bytes[0] = content;
    record.flags = flags;
    const Sequence seq = append(record);
    record.kind = RecordKind::kModify;
    return seq;
  };
  const Sequence first = version(1, 0), second = version(2, 0);
  std::vector<Sequence> refused;
  for (int i = 0; i < 3; ++i) refused.push_back(version(0, kFlagNotKept));
  const auto visited = [&](uint32_t last) {
    Kept kept;
    kept.since = head().seq;
    kept.last = last;
    std::set<Sequence> all;
    std::string position;
    while (must(journal->visit_kept(write(), kept, position, 100, [&](const Record& seen) {
      all.insert(seen.seq);
      return Status();
    }))) {
    }
    return all;
  };
  CHECK(visited(0) == std::set<Sequence>{second, refused.back()});
  CHECK(visited(1) == std::set<Sequence>{second, refused.back()});
  CHECK(visited(2) == std::set<Sequence>{first, second, refused.back()});
  const Sequence again = version(3, 0);
  CHECK(visited(1) == std::set<Sequence>{again});
}
