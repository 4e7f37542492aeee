// Fault simulation: every operation fails once, and the power goes at any time. What was
// acknowledged is there afterwards, what was not is gone or whole, and the store goes on.
#include <cstdio>
#include <cstdlib>

#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

constexpr uint64_t kSmallPackBytes = 1 << 20;

struct Script {
  std::vector<std::vector<std::string>> frames;
  std::string records;
};

// Batches of odd sizes; one of them large enough to end a pack of kSmallPackBytes.
std::vector<Script> make_script(uint64_t seed, bool crosses_packs) {
  std::vector<Script> script;
  for (uint64_t i = 0; i < 6; ++i) {
    Script batch;
    batch.records = "batch " + std::to_string(i);
    for (uint64_t f = 0; f <= i % 3; ++f) {
      const uint64_t number = seed * 1000 + i * 10 + f;
      batch.frames.push_back(
          {random_text(number, 100 + number % 7000), "x" + std::to_string(number)});
    }
    if (crosses_packs && i == 2) {
      // Larger than what is written at once, so that the batch takes several writes.
      for (uint64_t f = 0; f < 7; ++f) batch.frames.push_back({random_text(f, 400'000)});
    }
    script.push_back(std::move(batch));
  }
  return script;
}

void require_all(TestStore& test, const std::vector<const Script*>& committed) {
  const std::vector<std::string> batches = test.batches();
  REQUIRE(batches.size() == committed.size());
  for (size_t i = 0; i < committed.size(); ++i) {
    REQUIRE(batches[i] == committed[i]->records);
    for (const auto& frame : committed[i]->frames) {
      for (const std::string& content : frame) REQUIRE(test.read(content) == content);
    }
  }
  const auto findings = test.findings(true);
  INFO((findings.empty() ? "" : findings.front()));
  REQUIRE(findings.empty());
}

// Runs the script with the nth operation failing. Returns whether any did.
bool run_with_fault(const std::vector<Script>& script, uint64_t nth, int sys_errno) {
  INFO("operation " << nth << " fails with errno " << sys_errno);
  TestStore test;
  test.pack_bytes_target = kSmallPackBytes;
  REQUIRE_OK(test.open());
  test.disk->fail_at(nth, sys_errno);
  std::vector<const Script*> committed;
  for (const Script& batch : script) {
    auto written = test.write(batch.frames, batch.records);
    if (!written.ok()) {
      REQUIRE(written.error().sys_errno == sys_errno);
      if (sys_errno == ENOSPC) REQUIRE(written.error().code == ErrorCode::kNoSpace);
      REQUIRE(test.store->batch_bytes() == 0);
      written = test.write(batch.frames, batch.records);  // once more, after the roll back
    }
    REQUIRE_OK(written);
    committed.push_back(&batch);
  }
  require_all(test, committed);
  // A power cut shows whether what was acknowledged is durable in fact.
  test.lose_index();
  std::mt19937_64 random(nth);
  test.disk->cut_power(PowerCut::kLoseAll, random);
  REQUIRE_OK(test.open());
  require_all(test, committed);
  return test.disk->failed();
}

}  // namespace

TEST_CASE("any one operation may fail", "[fault]") {
  const bool crosses_packs = GENERATE(false, true);
  const int sys_errno = GENERATE(ENOSPC, EIO);
  const std::vector<Script> script = make_script(1, crosses_packs);
  uint64_t nth = 1;
  while (run_with_fault(script, nth, sys_errno)) ++nth;
  REQUIRE(nth > script.size() * 2);
}

TEST_CASE("a roll back that fails stops the store until it succeeds", "[fault]") {
  TestStore test;
  REQUIRE_OK(test.open());
  const bool has_pack = GENERATE(false, true);
  if (has_pack) REQUIRE_OK(test.write({{"kept"}}, "0"));
  {
    auto txn = test.env->begin_write();
    REQUIRE_OK(test.store->append(**txn, make_frame(test.info.key, {random_text(1, 2 << 20)})));
  }
  test.disk->fail_at(1, EIO);  // the cut
  REQUIRE_FALSE(test.store->roll_back().ok());
  {
    auto txn = test.env->begin_write();
    const Status status = test.store->append(**txn, make_frame(test.info.key, {"refused"}));
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().message.find("could not be rolled back") != std::string::npos);
    REQUIRE_FALSE(test.store->close_batch(**txn, "refused").ok());
  }
  REQUIRE_OK(test.store->roll_back());
  REQUIRE_OK(test.write({{"after"}}, "1"));
  test.lose_index();
  REQUIRE_OK(test.open());
  REQUIRE(test.read("after") == "after");
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("after a failed append the batch is closed to more", "[fault]") {
  TestStore test;
  REQUIRE_OK(test.open());
  {
    auto txn = test.env->begin_write();
    test.disk->fail_at(2, ENOSPC);
    REQUIRE_FALSE(
        test.store->append(**txn, make_frame(test.info.key, {random_text(1, 2 << 20)})).ok());
    const Status again = test.store->append(**txn, make_frame(test.info.key, {"x"}));
    REQUIRE_FALSE(again.ok());
    REQUIRE(again.error().code == ErrorCode::kNoSpace);
    REQUIRE_FALSE(test.store->close_batch(**txn, "x").ok());
  }
  REQUIRE_OK(test.store->roll_back());
  REQUIRE_OK(test.write({{"x"}}, "1"));
}

TEST_CASE("a failed replay can be repeated", "[fault]") {
  TestStore test;
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"kept"}}, "0"));
  test.pack_bytes(1) += "torn";
  test.disk->fail_at(1, EIO);
  REQUIRE_FALSE(test.open().ok());
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"more"}}, "1"));
  REQUIRE(test.read("kept") == "kept");
}

TEST_CASE("power cuts at any time", "[fault]") {
  const char* given = std::getenv("HOLDFAST_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("power cuts: HOLDFAST_SEED=%llu repeats this run\n",
              static_cast<unsigned long long>(seed));
  INFO("HOLDFAST_SEED=" << seed);
  std::mt19937_64 random(seed);
  TestStore test;
  test.pack_bytes_target = 100'000;
  REQUIRE_OK(test.open());
  std::vector<Script> script;
  for (uint64_t i = 0; i < 60; ++i) {
    for (Script& batch : make_script(i, false)) script.push_back(std::move(batch));
  }
  std::vector<const Script*> committed;
  size_t next = 0;
  while (next < script.size()) {
    // Some batches, the index of before the last of them, and one more that the cut may hit.
    for (uint64_t count = random() % 4 + 1; count > 0 && next < script.size(); --count, ++next) {
      if (count == 1) test.save_index();
      REQUIRE_OK(test.write(script[next].frames, script[next].records));
      committed.push_back(&script[next]);
    }
    const bool index_lags = random() % 2 == 0;
    if (next < script.size()) {
      auto txn = test.env->begin_write();
      for (const auto& frame : script[next].frames) {
        REQUIRE_OK(test.store->append(**txn, make_frame(test.info.key, frame)));
      }
      if (random() % 2 == 0) {
        test.disk->fail_at(2, EIO);  // the sync that never came to its end
        REQUIRE_FALSE(test.store->close_batch(**txn, script[next].records).ok());
      }
    }
    index_lags ? test.restore_index() : test.close();
    const auto cut = static_cast<PowerCut>(random() % 3);
    test.disk->cut_power(cut, random);
    INFO("cut " << static_cast<int>(cut) << " after batch " << next << ", index lags "
                << index_lags);
    const Status opened = test.open();
    REQUIRE_OK(opened);
    // The batch in flight may have become whole: then it counts.
    if (test.batches().size() == committed.size() + 1) committed.push_back(&script[next++]);
    if (random() % 8 == 0) require_all(test, committed);
  }
  require_all(test, committed);
  test.lose_index();
  REQUIRE_OK(test.open());
  require_all(test, committed);
}
