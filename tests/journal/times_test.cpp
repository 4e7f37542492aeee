// From times to sequences, with clocks that are set back.
#include <random>

#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

struct TimesFixture : JournalFixture {
  // A batch of records one millisecond apart, beginning at wall time `seconds`.
  void batch(int64_t seconds, int records) {
    clock.wall = seconds * kSecond;
    const Sequence first{head().seq.value + 1};
    for (int i = 0; i < records; ++i) {
      Record record;
      record.note = "x";
      append(record);
      clock.wall += 1'000'000 - 1000;
    }
    must(journal->end_batch(write(), first, head().seq));
  }
  uint64_t sequence_at(int64_t ns) { return must(journal->sequence_at(reader(), ns)).value; }
  std::vector<uint64_t> candidates(int64_t seconds) {
    std::vector<uint64_t> all;
    for (const Sequence seq : must(journal->wall_candidates(reader(), seconds * kSecond))) {
      all.push_back(seq.value);
    }
    return all;
  }
  int64_t time_of(uint64_t seq) { return must(journal->record(reader(), Sequence{seq})).time_ns; }
};

}  // namespace

TEST_CASE_METHOD(TimesFixture, "times in an empty journal", "[journal]") {
  REQUIRE(sequence_at(0) == 0);
  REQUIRE(sequence_at(INT64_MAX) == 0);
  REQUIRE(candidates(100).empty());
}

TEST_CASE_METHOD(TimesFixture, "each logical time finds its sequence", "[journal]") {
  for (int64_t i = 0; i < 20; ++i) batch(100 + i * 10, static_cast<int>(1 + i % 5));
  Record open;  // and a batch that has not ended
  for (int i = 0; i < 7; ++i) append(open);
  const uint64_t last = head().seq.value;
  REQUIRE(sequence_at(INT64_MIN) == 0);
  REQUIRE(sequence_at(time_of(1) - 1) == 0);
  for (uint64_t seq = 1; seq <= last; ++seq) {
    REQUIRE(sequence_at(time_of(seq)) == seq);
    REQUIRE(sequence_at(time_of(seq) - 1) == seq - 1);
  }
  REQUIRE(sequence_at(INT64_MAX) == last);
  require_sound();
}

TEST_CASE_METHOD(TimesFixture, "records of a first batch that has not ended are found",
                 "[journal]") {
  clock.wall = 100 * kSecond;
  for (int i = 0; i < 5; ++i) append(Record());
  REQUIRE(sequence_at(time_of(3)) == 3);
  REQUIRE(candidates(99).empty());
  REQUIRE(candidates(101) == std::vector<uint64_t>{5});
}

TEST_CASE_METHOD(TimesFixture, "times before 1970 sort", "[journal]") {
  batch(-100, 2);
  batch(-50, 2);
  batch(0, 2);
  batch(50, 2);
  REQUIRE(sequence_at(-100 * kSecond) == 0);
  REQUIRE(sequence_at(-60 * kSecond) == 2);
  REQUIRE(sequence_at(-1 * kSecond) == 4);
  REQUIRE(sequence_at(60 * kSecond) == 8);
  REQUIRE(candidates(-60) == std::vector<uint64_t>{2});
  require_sound();
}

TEST_CASE_METHOD(TimesFixture, "a steady clock makes one candidate", "[journal]") {
  for (int64_t i = 0; i < 50; ++i) batch(100 + i * 10, 3);
  REQUIRE(candidates(50).empty());
  REQUIRE(candidates(105) == std::vector<uint64_t>{3});
  REQUIRE(candidates(115) == std::vector<uint64_t>{6});
  REQUIRE(candidates(10'000) == std::vector<uint64_t>{150});
}

TEST_CASE_METHOD(TimesFixture, "a clock set back makes two candidates where it repeats",
                 "[journal]") {
  for (int64_t i = 0; i < 10; ++i) batch(1000 + i * 10, 2);  // 1000..1090: 1..20
  for (int64_t i = 0; i < 10; ++i) batch(1050 + i * 10, 2);  // 1050..1140: 21..40
  REQUIRE(candidates(1045) == std::vector<uint64_t>{10});
  REQUIRE(candidates(1065) == std::vector<uint64_t>{14, 24});
  REQUIRE(candidates(1095) == std::vector<uint64_t>{30});
  REQUIRE(candidates(1145) == std::vector<uint64_t>{40});
  REQUIRE(candidates(900).empty());
  batch(1000, 2);  // 41..42: set back once more
  REQUIRE(candidates(1065) == std::vector<uint64_t>{14, 24, 42});
  REQUIRE(candidates(999).empty());
  clock.wall = 500 * kSecond;  // and again, in a batch that has not ended
  append(Record());
  REQUIRE(candidates(1065) == std::vector<uint64_t>{14, 24, 43});
  REQUIRE(candidates(600) == std::vector<uint64_t>{43});
  require_sound();
}

TEST_CASE_METHOD(TimesFixture, "a time between the last record and the step is there twice, too",
                 "[journal]") {
  batch(1000, 2);                   // 1, 2
  clock.boottime += 300 * kSecond;  // nothing happened until 1300, when the clock was set back
  batch(1100, 2);                   // 3, 4
  batch(1400, 2);                   // 5, 6
  REQUIRE(candidates(1050) == std::vector<uint64_t>{2});
  // No step in sight of the journal: wall times went on. But then the clock is set back to 900.
  clock.boottime += 500 * kSecond;
  batch(900, 2);  // 7, 8
  REQUIRE(candidates(1800) == std::vector<uint64_t>{6, 8});
  REQUIRE(candidates(1950) == std::vector<uint64_t>{8});
  require_sound();
}

TEST_CASE_METHOD(TimesFixture, "a record's two clocks need not have been read at the same moment",
                 "[journal]") {
  batch(1000, 2);
  clock.boottime += 10 * kSecond;
  batch(500, 2);
  // The last record's boot clock was read 1 ms late: by it the clock was set back 9.999 s after.
  const int64_t set_back_ns = must(journal->record(reader(), Sequence{2})).wall_ns + 10 * kSecond;
  const auto asked = [&](int64_t ns) {
    return must(journal->wall_candidates(reader(), ns)).size();
  };
  REQUIRE(asked(set_back_ns + 1'000'000) == 2);
  REQUIRE(asked(set_back_ns + kClockStepMinNs + kSecond) == 1);
}

TEST_CASE_METHOD(TimesFixture, "a clock set back within a batch makes two candidates as well",
                 "[journal]") {
  batch(1000, 2);
  clock.wall = 1100 * kSecond;
  for (int i = 0; i < 2; ++i) append(Record());  // 3, 4
  clock.wall = 950 * kSecond;
  for (int i = 0; i < 2; ++i) append(Record());  // 5, 6
  must(journal->end_batch(write(), Sequence{3}, Sequence{6}));
  batch(960, 2);   // 7, 8
  batch(1200, 2);  // 9, 10
  REQUIRE(candidates(955) == std::vector<uint64_t>{6});
  REQUIRE(candidates(1050) == std::vector<uint64_t>{2, 8});
  REQUIRE(candidates(1150) == std::vector<uint64_t>{8});
  REQUIRE(candidates(1250) == std::vector<uint64_t>{10});
  require_sound();
}

TEST_CASE_METHOD(TimesFixture, "candidates agree with a search of all records", "[journal]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  int64_t seconds = 10'000;
  std::vector<std::pair<uint64_t, uint64_t>> spans;  // first and last sequence
  for (int i = 0; i < 200; ++i) {
    const bool back = i == 0 || random() % 20 == 0;
    seconds +=
        back ? -static_cast<int64_t>(random() % 300) - 1 : static_cast<int64_t>(random() % 20);
    const uint64_t first = head().seq.value + 1;
    batch(seconds, static_cast<int>(1 + random() % 3));
    if (back) spans.emplace_back(first, first);
    spans.back().second = head().seq.value;
    ++seconds;
  }
  const auto wall = [&](uint64_t seq) {
    return must(journal->record(reader(), Sequence{seq})).wall_ns;
  };
  for (int64_t asked = seconds - 4000; asked < seconds + 100; asked += 7) {
    std::vector<uint64_t> expected;
    for (const auto& [first, last] : spans) {
      const bool newest = last == spans.back().second;
      if (asked * kSecond < wall(first) || (!newest && asked * kSecond > wall(last))) continue;
      uint64_t found = first;
      while (found < last && wall(found + 1) <= asked * kSecond) ++found;
      expected.push_back(found);
    }
    REQUIRE(candidates(asked) == expected);
  }
  require_sound();
}

TEST_CASE_METHOD(TimesFixture, "batches have no holes and do not overlap", "[journal]") {
  batch(100, 2);
  append(Record());  // belongs to no batch
  batch(200, 2);
  require_sound();
  REQUIRE(journal->end_batch(write(), Sequence{5}, Sequence{5}).error().code == ErrorCode::kUsage);
  REQUIRE(journal->end_batch(write(), Sequence{7}, Sequence{6}).error().code == ErrorCode::kUsage);
  REQUIRE(journal->end_batch(write(), Sequence{6}, Sequence{6}).error().code ==
          ErrorCode::kNotFound);
}
