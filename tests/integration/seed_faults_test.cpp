// Seeding where something goes wrong: killed, damaged, full, read-only, not allowed, two at once.
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>
#include <algorithm>

#include <algorithm>
#include <filesystem>
#include <random>

#include "tests/support/rotting.h"
#include "tests/support/seeding.h"

namespace holdfast {
namespace {

using Catch::Contains;

void make_image(const Seeding& s, int files) {
  for (int i = 0; i < files; ++i) {
    const std::string dir = "d" + std::to_string(i % 7);
    if (i < 7) make_dir(s.in_image(dir));
    s.bring(dir + "/f" + std::to_string(i), random_bytes_of(3000, static_cast<unsigned>(i)));
  }
}

std::string without_top(const std::string& expected, const std::string& found,
                        bool times_of_dirs = true) {
  Tree one = read_tree(expected), other = read_tree(found);
  for (Tree* tree : {&one, &other}) {
    for (auto& [path, entry] : *tree) {
      if (!times_of_dirs && S_ISDIR(entry.mode)) entry.mtime_ns = 0;
    }
  }
  one.erase("");
  other.erase("");
  return differences(one, other);
}

}  // namespace

TEST_CASE("a seed that is killed anywhere is finished by the next one", "[seed]") {
  const bool service = GENERATE(false, true);
  std::random_device device;
  const unsigned seed = device();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const Seeding s(service);
  make_image(s, 300);
  int killed = 0;
  for (int round = 0; round < 12; ++round) {
    s.bring("d0/f0", "round " + std::to_string(round));
    Command command;
    command.args = {holdfast_binary(), "--state", s.holdfast.state(), "seed", s.image, s.volume};
    Process process(command);
    // It is killed when it has said so many lines, or has come so far without a word.
    const auto said = std::to_string(random() % 300);
    if (round % 2 == 0) {
      process.wait_for_output("f" + said + " ", static_cast<int>(random() % 60));
    } else {
      process.wait_for_output("never said", static_cast<int>(random() % 120));
    }
    process.signal(SIGKILL);
    if (process.wait().exit_code != 0) ++killed;
  }
  CHECK(killed > 0);
  const Outcome last = s.run();
  INFO(last.out << last.err);
  REQUIRE(last.exit_code == 0);
  // And so no temporary file is left. Only the times of directories are not known any more.
  REQUIRE(without_top(s.image, s.volume, false) == "");
  REQUIRE(s.only_action() == "");
  REQUIRE(s.holdfast.json({"status"}).at("verdicts").empty());
  s.holdfast.require_clean(true);
}

TEST_CASE("two seeds of one volume do not interleave", "[seed]") {
  const Seeding s(GENERATE(false, true));
  make_image(s, 200);
  Command command;
  command.args = {holdfast_binary(), "--state", s.holdfast.state(), "seed", s.image, s.volume};
  Process one(command), other(command);
  const Outcome first = one.wait(), second = other.wait();
  INFO(first.out << first.err << second.out << second.err);
  REQUIRE(first.exit_code == 0);
  REQUIRE(second.exit_code == 0);
  const bool first_did_it = first.out.find("install 207") != std::string::npos;
  REQUIRE_THAT(first_did_it ? second.out : first.out, Contains("nothing to do"));
  REQUIRE(without_top(s.image, s.volume) == "");
}

TEST_CASE("damage is not taken for an edit: it is healed, then decided", "[seed]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  const WorkDir work;
  const LoopMount disk(work, "disk", 64 << 20);
  make_dir(disk.path() + "/data");
  const Seeding s(true, disk.path() + "/data");
  const std::string good(9000, 'g');
  s.bring("file", good);
  s.seed();
  SECTION("and the image has a new one") { s.bring("file", std::string(9000, 'n')); }
  SECTION("and the image has the same") {}
  run_tool({"sync", "-f", s.volume});
  disk.flip_bit(s.in("file"), 5000);
  verify(s.holdfast, {}, 3);
  REQUIRE(s.seed({"--dry-run"}).at("counts").at("heal") == 1);
  const TestJson json = s.seed();
  INFO(json.dump());
  REQUIRE(json.at("counts").at("heal") == 1);
  REQUIRE(json.at("counts").at("conflict") == 0);
  REQUIRE((read_file(s.in("file")) == read_file(s.in_image("file"))));
  REQUIRE(s.holdfast.json({"status"}).at("verdicts").empty());
  REQUIRE(s.only_action() == "");
}

TEST_CASE("damage that the store cannot heal gets what the image has", "[seed]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  const WorkDir work;
  const LoopMount disk(work, "disk", 64 << 20);
  make_dir(disk.path() + "/data");
  const Seeding s(true, disk.path() + "/data");
  const std::string good = random_bytes_of(40'000, 1);  // does not compress: stored as it is
  s.bring("file", good);
  s.seed();
  size_t spoilt = 0;
  for (const auto& pack : std::filesystem::directory_iterator(s.holdfast.state() + "/packs")) {
    const size_t at = read_file(pack.path()).find(good.substr(20'000, 64));
    if (at == std::string::npos) continue;
    const Fd fd(::open(pack.path().c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(::pwrite(fd.get(), "spoilt", 6, static_cast<off_t>(at)) == 6);
    ++spoilt;
  }
  REQUIRE(spoilt == 1);
  s.bring("file", "of the new image");
  run_tool({"sync", "-f", s.volume});
  disk.flip_bit(s.in("file"), 5000);
  verify(s.holdfast, {}, 3);
  const TestJson json = s.seed();
  INFO(json.dump());
  REQUIRE(json.at("counts").at("heal") == 1);
  REQUIRE_THAT(json.at("warnings").dump(), Contains("could not be brought back"));
  REQUIRE(read_file(s.in("file")) == "of the new image");
  REQUIRE(s.holdfast.json({"status"}).at("verdicts").empty());
  REQUIRE(s.only_action() == "");
}

TEST_CASE("a full volume is told with what to do, and the next run goes on", "[seed]") {
  if (!is_root_for("mounting a small file system to fill")) return;
  enter_mount_namespace();
  const WorkDir work;
  const std::string dir = work.make("small");
  const Mount small("tmpfs", dir, "tmpfs", 0, "size=300k");
  const Seeding s(GENERATE(false, true), dir);
  for (unsigned i = 0; i < 8; ++i) s.bring("f" + std::to_string(i), random_bytes_of(90'000, i));
  const Outcome full = s.run();
  INFO(full.out << full.err);
  REQUIRE(full.exit_code == Seeding::kSomeFailed);
  REQUIRE_THAT(full.out, Contains("FAILED    f7") && Contains("make room on the disk of " + dir));
  // Three have room; the two that are written at once may each take a part of that of the last one.
  REQUIRE_THAT(full.out, Contains("install 3, failed 5") || Contains("install 2, failed 6"));
  size_t whole = 0;
  for (unsigned i = 0; i < 8; ++i) {
    const std::string name = "f" + std::to_string(i);
    if (!exists(s.in(name))) continue;
    REQUIRE(read_file(s.in(name)) == read_file(s.in_image(name)));
    ++whole;
  }
  REQUIRE((whole == 2 || whole == 3));
  REQUIRE(::mount("tmpfs", dir.c_str(), "tmpfs", MS_REMOUNT, "size=4m") == 0);
  REQUIRE(s.run().exit_code == 0);
  REQUIRE(without_top(s.image, s.volume) == "");
}

TEST_CASE("a read-only volume is told, and is fine where there is nothing to do", "[seed]") {
  if (!is_root_for("mounting a file system read-only")) return;
  enter_mount_namespace();
  const WorkDir work;
  const std::string dir = work.make("volume");
  const Mount mounted("tmpfs", dir, "tmpfs", 0, "size=4m");
  const Seeding s(GENERATE(false, true), dir);
  s.bring("a", "one");
  REQUIRE(s.run().exit_code == 0);
  REQUIRE(::mount("tmpfs", dir.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  REQUIRE(s.run().exit_code == 0);
  s.bring("a", "two");
  const Outcome refused = s.run();
  INFO(refused.out << refused.err);
  REQUIRE(refused.exit_code == 1);
  REQUIRE_THAT(refused.err, Contains("mounted read-only") && Contains(dir));
}

TEST_CASE("who may not write is told whose directory it is and what to do", "[seed]") {
  if (!is_root_for("running as another user")) return;
  constexpr uid_t kNobody = 65534;
  const Seeding s(false);
  s.bring("a", "one");
  make_dir(s.in_image("open"));
  s.bring("open/b", "two");
  make_dir(s.in("open"));
  REQUIRE(::chown(s.in("open").c_str(), kNobody, kNobody) == 0);
  REQUIRE(::chmod(s.work.path().c_str(), 0777) == 0);
  Command command;
  command.args = {holdfast_binary(), "--state", s.work.path("state-of-nobody"), "seed",
                  s.image,           s.volume};
  command.uid = kNobody;
  const Outcome outcome = run_process(command);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == Seeding::kSomeFailed);
  REQUIRE_THAT(outcome.out, Contains("FAILED    a") && Contains("belongs to 0:0") &&
                                Contains("chown -R 65534:65534 " + s.volume));
  REQUIRE(read_file(s.in("open/b")) == "two");  // the rest went on
}

TEST_CASE("a service that has the volume under another path knows it by itself", "[seed]") {
  if (!is_root_for("mounting a directory under another path")) return;
  enter_mount_namespace();
  const Seeding s(true);
  const std::string elsewhere = s.work.make("elsewhere");
  const Mount mounted = mount_bind(s.volume, elsewhere);
  s.bring("a", "one");
  const TestJson json = s.holdfast.json({"seed", s.image, elsewhere});
  REQUIRE(json.at("root") == "data");
  REQUIRE(s.holdfast.text({"cat", "data:a"}) == "one");
  const TestJson roots = s.holdfast.json({"status"}).at("roots");
  REQUIRE(std::count_if(roots.begin(), roots.end(),
                        [](const TestJson& root) { return root.at("path") != ""; }) == 1);
}

TEST_CASE("a directory in no root becomes one, and is watched from then on", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("a", "one");
  const std::string other = s.work.path("made/new");
  REQUIRE(s.holdfast.json({"seed", s.image, other}).at("root") == "new");
  REQUIRE(s.holdfast.json({"seed", s.image, other}).at("counts").at("same") == 1);
  write_file(other + "/b", "later");
  s.holdfast.flush();
  REQUIRE(s.holdfast.text({"cat", "new:b"}) == "later");
}

TEST_CASE("where the journal leaves files out, only what an image brought is replaced", "[seed]") {
  Seeding s(false);
  s.holdfast.start({"data=" + s.volume, "--exclude", "*.tmp"});
  s.bring("a.tmp", "one");
  s.seed();
  s.bring("a.tmp", "two");
  REQUIRE(s.only_action() == "update");
  write_file(s.in("a.tmp"), "mine");
  REQUIRE(s.only_action({"--force"}, Seeding::kConflicts) == "conflict");
  REQUIRE(read_file(s.in("a.tmp")) == "mine");
}

TEST_CASE("what was seeded is known after a rebuild of the journal", "[seed]") {
  const Seeding s(false);
  s.bring("a", "one");
  s.seed();
  write_file(s.in("a"), "mine");
  s.seed();
  run_tool({"rm", "-rf", s.holdfast.state() + "/journal"});
  REQUIRE(s.holdfast.run({"rebuild"}).exit_code == 0);
  REQUIRE(s.only_action() == "keep");
}

}  // namespace holdfast
