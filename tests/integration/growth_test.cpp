// What grows: depth, names, one directory, one file, the journal's map, the sequence. Small here,
// so that it is quick; docs/limits.md has the figures of the large ones, which the environment
// switches on: HOLDFAST_GROWTH_FILES=1000000 HOLDFAST_GROWTH_DEPTH=1000 HOLDFAST_GROWTH_GB=100.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/lmdb.h"
#include "journal/keys.h"
#include "journal/record.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr uint64_t kAnonymousBytesMax = 96'000'000;

uint64_t from_env(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// A field of /proc/PID/status, in bytes.
[[maybe_unused]] uint64_t memory_of(pid_t pid, const std::string& field) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field + ":")) {
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
    }
  }
  return 0;
}

// A sanitizer's own memory is not ours.
void require_small(Holdfast& holdfast) {
  if (binary_is_sanitized()) return;
  const uint64_t bytes = memory_of(holdfast.service().pid(), "RssAnon");
  REQUIRE(bytes > 0);
  REQUIRE(bytes < kAnonymousBytesMax);
}

void put_in(const Fd& dir, const std::string& name, const std::string& text) {
  const Fd file(::openat(dir.get(), name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  REQUIRE(file.valid());
  REQUIRE(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

Fd open_dir(const std::string& path) {
  Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(dir.valid());
  return dir;
}

Fd open_below(const Fd& dir, const std::string& name) {
  Fd below(::openat(dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(below.valid());
  return below;
}

// Directories in each other, with a file in the last one; returns that one's path.
std::string make_chain(const std::string& root, uint64_t depth, const std::string& name) {
  Fd dir = open_dir(root);
  std::string path;
  for (uint64_t level = 0; level < depth; ++level) {
    REQUIRE(::mkdirat(dir.get(), name.c_str(), 0755) == 0);
    dir = open_below(dir, name);
    path += (path.empty() ? "" : "/") + name;
  }
  put_in(dir, "file", "at the bottom");
  return path;
}

// A client that asks and does not read the answer.
class PausedClient {
 public:
  PausedClient(const std::string& socket_path, const std::string& target)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(socket_path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(write_full(fd_.get(), "GET " + target + " HTTP/1.1\r\nHost: holdfast\r\n\r\n").ok());
    char first = 0;  // it has begun
    REQUIRE(::read(fd_.get(), &first, 1) == 1);
  }
  // The rest, to its end.
  std::string read_all() const {
    std::string all;
    std::vector<char> piece(256 * 1024);
    while (!all.ends_with("\r\n0\r\n\r\n")) {
      const ssize_t got = ::read(fd_.get(), piece.data(), piece.size());
      REQUIRE(got > 0);
      all.append(piece.data(), static_cast<size_t>(got));
    }
    return all;
  }

 private:
  Fd fd_;
};

}  // namespace

TEST_CASE("a path far longer than PATH_MAX lives a whole life", "[growth]") {
  const uint64_t depth = from_env("HOLDFAST_GROWTH_DEPTH", 200);
  Watched w;
  const std::string name = "directory-" + std::string(20, 'x');
  const std::string path = make_chain(w.root, depth, name);
  const uint64_t made = w.holdfast.flush();
  REQUIRE(path.size() > 4096);
  REQUIRE(w.content(path + "/file") == "at the bottom");
  REQUIRE(w.holdfast.lines({"ls", "-R", "data:"}).size() == depth + 1);
  REQUIRE(w.holdfast.lines({"history", w.root + "/" + path + "/file"}).size() == 1);
  w.holdfast.require_restores(w.work, made, read_tree(w.root));
  REQUIRE(w.holdfast.run({"verify"}).exit_code == 0);

  // A rename at the top moves everything below it.
  rename_path(w.in(name), w.in("top"));
  const uint64_t renamed = w.holdfast.flush();
  REQUIRE(w.content("top" + path.substr(name.size()) + "/file") == "at the bottom");
  const auto lines = w.holdfast.lines({"diff", at(made), at(renamed)});
  REQUIRE(lines.size() == 1);
  REQUIRE(lines[0].at("change") == "renamed");
  REQUIRE(lines[0].at("from") == name);

  std::error_code ignored;
  std::filesystem::remove_all(w.in("top"), ignored);
  REQUIRE_FALSE(exists(w.in("top")));
  REQUIRE(w.holdfast.lines({"ls", "-R", "data:", "--at", at(w.holdfast.flush())}).empty());
  w.holdfast.require_clean();
  w.holdfast.stop();
}

TEST_CASE("one directory of very many files", "[growth]") {
  const uint64_t files = from_env("HOLDFAST_GROWTH_FILES", 9'000);
  const auto name_of = [](uint64_t index) { return "file-" + std::to_string(10'000'000 + index); };
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/many");
  const Fd dir = open_dir(root + "/many");
  for (uint64_t i = 0; i < files; ++i) put_in(dir, name_of(i), "file " + std::to_string(i % 1000));
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t ingested = holdfast.flush();
  require_small(holdfast);
  REQUIRE(holdfast.json({"status"}).at("roots").at(0).at("files") == files);

  // Events in it do not look at the rest.
  put_in(dir, "new", "new");
  REQUIRE(::unlinkat(dir.get(), name_of(files / 2).c_str(), 0) == 0);
  REQUIRE(::renameat(dir.get(), name_of(7).c_str(), dir.get(), "moved") == 0);
  holdfast.flush();
  std::set<std::string> changes;
  for (const TestJson& line : holdfast.lines({"diff", at(ingested), "now"})) {
    changes.insert(line.at("change").get<std::string>() + " " + line.at("path").get<std::string>());
  }
  REQUIRE(changes == std::set<std::string>{"added many/new", "removed many/" + name_of(files / 2),
                                           "renamed many/moved"});
  require_small(holdfast);
  holdfast.stop();

  // While nobody watches, in each of the slices in which the next start looks at it.
  for (uint64_t i = 0; i < files; i += 1000) {
    if (i == files / 2) continue;
    const std::string was = name_of(i);
    REQUIRE(::renameat(dir.get(), was.c_str(), dir.get(), ("x" + was).c_str()) == 0);
    REQUIRE(::unlinkat(dir.get(), name_of(i + 1).c_str(), 0) == 0);
    put_in(dir, name_of(i + 2), "written while nobody watched");
    put_in(dir, "offline-" + std::to_string(i), "new");
  }
  const uint64_t before = holdfast.json({"status"}).at("seq");
  holdfast.start({"data=" + root});
  const uint64_t after = holdfast.flush();
  require_small(holdfast);
  std::map<std::string, uint64_t> kinds;
  for (const TestJson& line : holdfast.lines({"diff", at(before), at(after)})) {
    ++kinds[line.at("change")];
  }
  const uint64_t each = (files - 1) / 1000 + 1 - (files / 2 % 1000 == 0 ? 1 : 0);
  REQUIRE(kinds == std::map<std::string, uint64_t>{
                       {"renamed", each}, {"removed", each}, {"modified", each}, {"added", each}});
  if (files <= 100'000) holdfast.require_restores(work, after, read_tree(root));
  holdfast.require_clean();
  holdfast.stop();
}

TEST_CASE("a sparse file costs its data and comes back sparse", "[growth]") {
  const auto size = static_cast<off_t>(from_env("HOLDFAST_GROWTH_GB", 2) * 1'000'000'000);
  Watched w;
  const auto put_at = [&](off_t offset, const std::string& text) {
    const Fd file(::open(w.in("big").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    REQUIRE(::pwrite(file.get(), text.data(), text.size(), offset) ==
            static_cast<ssize_t>(text.size()));
    REQUIRE(::ftruncate(file.get(), size) == 0);
  };
  put_at(0, "begin");
  put_at(size - 100'000, "end");
  w.holdfast.flush();
  const uint64_t stored = w.holdfast.json({"status"}).at("store").at("bytes");
  REQUIRE(stored < 1'000'000);
  put_at(size / 2, "in the middle");
  const uint64_t changed = w.holdfast.flush();
  REQUIRE(w.last_of("big").at("kind") == "modify");
  REQUIRE(w.last_of("big").at("size") == size);
  const std::string to = w.work.path("out");
  w.holdfast.text({"restore", "data:big", "--at", at(changed), "--to", to});
  REQUIRE(blocks_of(to + "/big") < 2048);
  const Fd restored(::open((to + "/big").c_str(), O_RDONLY | O_CLOEXEC));
  std::string middle(13, '\0');
  REQUIRE(::pread(restored.get(), middle.data(), middle.size(), size / 2) == 13);
  REQUIRE(middle == "in the middle");
  require_small(w.holdfast);
  w.holdfast.stop();
}

TEST_CASE("the journal's map grows under a service, and a paused reader keeps its moment",
          "[growth]") {
  WorkDir work;
  const std::string root = work.make("data");
  const auto fill = [&](const std::string& name, int files) {
    make_dir(root + "/" + name);
    for (int i = 0; i < files; ++i) {
      write_file(root + "/" + name + "/" + std::to_string(i), name + std::to_string(i));
    }
  };
  fill("first", 9000);
  Holdfast holdfast(work.path("state"));
  holdfast.set_env({{"HOLDFAST_JOURNAL_MAP_BYTES", "1048576"}});
  holdfast.start({"data=" + root});
  // A start in a map that is too small for its first batches tries again with a larger one.
  while (holdfast.run({"flush"}).exit_code != 0) {
  }
  // After a restart the map is hardly larger than what is in it.
  holdfast.stop();
  holdfast.start({"data=" + root});
  const uint64_t begun = holdfast.flush();
  {
    const PausedClient paused(holdfast.state() + "/api.sock", "/v1/log");
    // What does not fit into the map waits for the reader, and status says so.
    bool told = false;
    for (int more = 0; more < 30 && !told; ++more) {
      fill("later-" + std::to_string(more), 1000);
      if (holdfast.run({"flush"}).exit_code == 0) continue;
      const std::string problems = holdfast.json({"status"}).at("problems").dump();
      told = problems.find("its memory map is full") != std::string::npos;
    }
    REQUIRE(told);
    const std::string log = paused.read_all();
    REQUIRE(log.find("\"seq\":" + std::to_string(begun) + ",") != std::string::npos);
    REQUIRE(log.find("later") == std::string::npos);
  }
  while (holdfast.run({"flush"}).exit_code != 0) {
  }
  holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  holdfast.require_clean(true);
  holdfast.stop();
}

TEST_CASE("at the last sequence the journal ends with an error, and stays readable", "[growth]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/old", "from before");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  holdfast.stop();
  constexpr uint64_t kLast = INT64_MAX;
  {
    // As if so many records had been written: the head begins with its sequence and has the chain
    // at offset 24 (docs/formats/journal.md).
    const TestJson header = TestJson::parse(read_file(holdfast.state() + "/repository"));
    ChunkKey chain_key{};
    const std::string hex = header.at("key");
    for (size_t i = 0; i < chain_key.size(); ++i) {
      chain_key[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
    }
    const auto env = LmdbEnv::open(holdfast.state() + "/journal", 1 << 30, 32);
    REQUIRE(env.ok());
    const auto meta = (*env)->table("meta");
    REQUIRE(meta.ok());
    const auto records = (*env)->table("records");
    REQUIRE(records.ok());
    auto txn = (*env)->begin_write();
    REQUIRE(txn.ok());
    std::string head((*txn)->get(*meta, "head")->value());
    const Sequence last{get_le<uint64_t>(head.data())};
    auto newest = decode_record((*txn)->get(*records, record_key(last))->value());
    REQUIRE(newest.ok());
    set_le(head.data(), kLast - 8);
    newest->seq.value = kLast - 8;
    const std::string before(newest->chain.begin(), newest->chain.end());
    newest->chain = {};
    newest->chain = chain_link(chain_key, before, *encode_record(*newest));
    std::copy(newest->chain.begin(), newest->chain.end(), head.begin() + 24);
    REQUIRE((*txn)->put(*records, record_key(newest->seq), *encode_record(*newest)).ok());
    REQUIRE((*txn)->put(*meta, "head", head).ok());
    REQUIRE((*txn)->commit().ok());
  }
  holdfast.start({"data=" + root});
  holdfast.flush();
  const uint64_t near = holdfast.json({"status"}).at("seq");
  REQUIRE(near > kLast - 8);
  REQUIRE(near <= kLast);
  for (int i = 0; i < 8; ++i) write_file(root + "/new-" + std::to_string(i), "more");
  const Outcome refused = holdfast.run({"flush"});
  REQUIRE(refused.exit_code == 1);
  REQUIRE(refused.err.find("the journal has come to its end") != std::string::npos);
  REQUIRE(holdfast.json({"status"}).at("healthy") == false);
  REQUIRE(holdfast.text({"cat", root + "/old"}) == "from before");
  REQUIRE(holdfast.json({"log", "-n", "1"}).at("seq").get<uint64_t>() <= kLast);
  holdfast.text({"restore", "--at", "now", "--to", work.path("out")});
  REQUIRE(read_file(work.path("out/old")) == "from before");
  holdfast.kill();
}

}  // namespace holdfast
