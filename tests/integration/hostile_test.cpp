// Names and trees that an attacker, or just another program, can make: all come back byte for byte,
// and none of them leads out of the watched tree or out of the target of a restore.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "base/fd.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

// A chain of directories whose path is longer than any path that a system call takes.
void make_deep(const std::string& root) {
  Fd dir(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::string name(200, 'd');
  for (int level = 0; level < 30; ++level) {
    REQUIRE(::mkdirat(dir.get(), name.c_str(), 0755) == 0);
    const Fd file(::openat(dir.get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    const std::string text = "level " + std::to_string(level);
    REQUIRE(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    Fd below(::openat(dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(below.valid());
    dir = std::move(below);
  }
}

const std::vector<std::string>& hostile_names() {
  static const std::vector<std::string> names = {"new\nline",
                                                 "tab\there",
                                                 "\xff\xfe not UTF-8",
                                                 "-rf",
                                                 "--delete",
                                                 " ",
                                                 "...",
                                                 "*",
                                                 "$(reboot)",
                                                 "quote'\"`",
                                                 "back\\slash",
                                                 "\x1b[31mred",
                                                 std::string(255, 'n'),
                                                 "\xc3\xa4\xe2\x82\xac",
                                                 "root:relative",
                                                 "@1",
                                                 "%2e%2e%2f",
                                                 "\xe2\x80\xae"
                                                 "reversed"};
  return names;
}

// Swaps a directory for a symlink to another one and back, as fast as it can.
class Swapper {
 public:
  Swapper(std::string victim, std::string aim) : victim_(std::move(victim)), aim_(std::move(aim)) {
    thread_ = std::thread([this] { run(); });
  }
  ~Swapper() {
    ending_ = true;
    thread_.join();
  }
  Swapper(const Swapper&) = delete;
  Swapper& operator=(const Swapper&) = delete;
  bool swapped_often() const { return swaps_ > 10; }

 private:
  void run() {
    const std::string aside = victim_ + ".aside";
    while (!ending_) {
      if (::rename(victim_.c_str(), aside.c_str()) != 0) continue;
      if (::symlink(aim_.c_str(), victim_.c_str()) == 0) ++swaps_;
      // A restore may have put something there meanwhile; that must not stop the attack.
      if (::unlink(victim_.c_str()) != 0) {
        ::rename(victim_.c_str(), (victim_ + std::to_string(swaps_)).c_str());
      }
      ::rename(aside.c_str(), victim_.c_str());
    }
  }
  const std::string victim_, aim_;
  std::atomic<bool> ending_{false};
  std::atomic<int> swaps_{0};
  std::thread thread_;
};

}  // namespace

TEST_CASE("hostile names come back byte for byte", "[hostile]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  make_dir(root + "/before");
  for (const std::string& name : hostile_names()) write_file(root + "/before/" + name, name);
  holdfast.start({"data=" + root});
  holdfast.flush();
  make_dir(root + "/seen \n live");
  for (const std::string& name : hostile_names()) {
    write_file(root + "/seen \n live/" + name, name);
    make_dir(root + "/" + name);
    REQUIRE(::symlink(name.c_str(), (root + "/" + name + "/link").c_str()) == 0);
  }
  const uint64_t seq = holdfast.flush();
  holdfast.require_restores(work, seq, read_tree(root));
  for (const std::string& name : hostile_names()) {
    REQUIRE(holdfast.text({"cat", "--", root + "/before/" + name}) == name);
    REQUIRE(holdfast.lines({"history", "--", root + "/before/" + name}).size() == 1);
  }
  // No raw control characters on the terminal.
  const std::string shown = holdfast.text({"ls", "-R"}) + holdfast.text({"log"});
  REQUIRE(shown.find('\x1b') == std::string::npos);
  bool encoded = false;
  for (const TestJson& line : holdfast.lines({"ls", "-R"})) encoded |= line.contains("path_b64");
  REQUIRE(encoded);
  holdfast.require_clean(true);
  holdfast.stop();
}

TEST_CASE("a path longer than PATH_MAX is watched and restored", "[hostile]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  SECTION("found at the start") {
    make_deep(root);
    holdfast.start({"data=" + root});
  }
  SECTION("made while it runs") {
    holdfast.start({"data=" + root});
    make_deep(root);
  }
  const Tree tree = read_tree(root);
  REQUIRE(tree.size() == 61);
  holdfast.require_restores(work, holdfast.flush(), tree);
  holdfast.stop();
}

TEST_CASE("a directory swapped for a symlink leads no capture outside", "[hostile]") {
  constexpr size_t kSecretBytes = 31'337;  // nothing else has that size
  WorkDir work;
  const std::string root = work.make("data");
  const std::string outside = work.make("outside");
  write_file(outside + "/file", random_bytes_of(kSecretBytes, 1));
  make_dir(root + "/victim");
  write_file(root + "/victim/file", "harmless");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  {
    const Swapper swapper(root + "/victim", outside);
    for (int i = 0; i < 200 || !swapper.swapped_often(); ++i) {
      // Opened through the name: now the victim's file, now the secret, whose times alone move.
      const Fd file(::open((root + "/victim/file").c_str(), O_RDONLY | O_CLOEXEC));
      if (file) ::futimens(file.get(), nullptr);
      if (i % 20 == 0) holdfast.flush();
    }
  }
  const uint64_t seq = holdfast.flush();
  for (const TestJson& record : holdfast.lines({"log"})) {
    if (record.contains("size")) REQUIRE(record.at("size") != kSecretBytes);
  }
  holdfast.require_restores(work, seq, read_tree(root));
  holdfast.stop();
}

TEST_CASE("a directory swapped for a symlink leads no restore outside", "[hostile]") {
  WorkDir work;
  const std::string root = work.make("data");
  const std::string outside = work.make("outside");
  make_dir(root + "/victim");
  make_dir(root + "/victim/sub");
  for (int i = 0; i < 50; ++i) {
    write_file(root + "/victim/f" + std::to_string(i), "restored");
    write_file(root + "/victim/sub/f" + std::to_string(i), "restored");
  }
  make_dir(outside + "/sub");
  write_file(outside + "/f0", "must stay");
  write_file(outside + "/precious", "must stay");
  const Tree before = read_tree(outside);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  holdfast.stop();
  const std::string target = work.path("target");
  holdfast.text({"restore", "--at", at(seq), "--to", target});
  {
    const Swapper swapper(target + "/victim", outside);
    for (int i = 0; i < 15 || !swapper.swapped_often(); ++i) {
      // It may fail for some files, and says so; what counts is where it does not write.
      const Outcome outcome = holdfast.run(
          {"restore", "--at", at(seq), "--to", target, "--delete", "--overwrite", "always"});
      INFO(outcome.out << outcome.err);
      REQUIRE((outcome.exit_code == 0 || outcome.exit_code == 5 || outcome.exit_code == 1));
      REQUIRE(differences(before, read_tree(outside)) == "");
    }
  }
  REQUIRE(differences(before, read_tree(outside)) == "");
}

}  // namespace holdfast
