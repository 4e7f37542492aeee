// The contract of PackStorage, on the directory and on the memory that other tests use in its
// place; and what only a directory can do.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <thread>

#include "base/fs.h"
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

struct Subject {
  TempDir dir;
  std::unique_ptr<PackStorage> storage;
  explicit Subject(bool in_memory) {
    if (in_memory) {
      storage = std::make_unique<MemoryPackStorage>(std::make_shared<MemoryDisk>());
      return;
    }
    auto opened = DirectoryPackStorage::open(dir.path, "0a1b2c3d");
    REQUIRE_OK(opened);
    storage = std::move(*opened);
  }
};

std::unique_ptr<DirectoryPackStorage> open_in(const std::string& dir) {
  auto opened = DirectoryPackStorage::open(dir, "0a1b2c3d");
  REQUIRE_OK(opened);
  return std::move(*opened);
}

}  // namespace

TEST_CASE("pack storage contract", "[pack_storage]") {
  Subject subject(GENERATE(false, true));
  PackStorage& storage = *subject.storage;
  REQUIRE(storage.list()->empty());
  REQUIRE(storage.size(1).error().code == ErrorCode::kNotFound);
  REQUIRE(storage.read(1, 0, 1).error().code == ErrorCode::kNotFound);
  REQUIRE(storage.sync(1).error().code == ErrorCode::kNotFound);
  REQUIRE(storage.truncate(1, 0).error().code == ErrorCode::kNotFound);
  REQUIRE(storage.remove(1).error().code == ErrorCode::kNotFound);

  for (const uint32_t pack : {7u, 4'000'000'000u, 1u}) REQUIRE_OK(storage.create(pack));
  REQUIRE(storage.create(7).error().code == ErrorCode::kExists);
  REQUIRE(*storage.list() == std::vector<uint32_t>{1, 7, 4'000'000'000});
  REQUIRE(*storage.size(7) == 0);
  REQUIRE(storage.name(7) != storage.name(1));

  REQUIRE_OK(storage.append(7, 0, "hello "));
  REQUIRE_OK(storage.append(7, 6, "world"));
  REQUIRE_OK(storage.append(7, 11, ""));
  REQUIRE(*storage.size(7) == 11);
  REQUIRE(*storage.read(7, 0, 11) == "hello world");  // before any sync
  REQUIRE_OK(storage.sync(7));
  REQUIRE(*storage.read(7, 6, 5) == "world");
  REQUIRE(storage.read(7, 11, 0)->empty());
  const auto beyond = storage.read(7, 6, 6);
  REQUIRE(beyond.error().code == ErrorCode::kDamaged);
  REQUIRE(beyond.error().message.find("ends before") != std::string::npos);
  REQUIRE(beyond.error().message.find(storage.name(7)) != std::string::npos);

  REQUIRE_OK(storage.truncate(7, 5));
  REQUIRE(*storage.read(7, 0, 5) == "hello");
  REQUIRE(storage.read(7, 0, 6).error().code == ErrorCode::kDamaged);
  REQUIRE_OK(storage.append(7, 5, "!"));
  REQUIRE(*storage.read(7, 0, 6) == "hello!");

  REQUIRE_OK(storage.remove(7));
  REQUIRE(*storage.list() == std::vector<uint32_t>{1, 4'000'000'000});
  REQUIRE(storage.read(7, 0, 1).error().code == ErrorCode::kNotFound);
  REQUIRE_OK(storage.create(7));
  REQUIRE(*storage.size(7) == 0);
}

TEST_CASE("any thread reads packs", "[pack_storage]") {
  Subject subject(GENERATE(false, true));
  PackStorage& storage = *subject.storage;
  constexpr uint32_t kPacks = 100;  // more than are kept open
  for (uint32_t pack = 1; pack <= kPacks; ++pack) {
    REQUIRE_OK(storage.create(pack));
    REQUIRE_OK(storage.append(pack, 0, std::to_string(pack)));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < 1000; ++i) {
        const uint32_t pack = (i * 37 + static_cast<uint32_t>(t) * 11) % kPacks + 1;
        const std::string expected = std::to_string(pack);
        const auto got = storage.read(pack, 0, expected.size());
        wrong[t] += !got.ok() || *got != expected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(wrong == std::vector<int>(3, 0));
}

TEST_CASE("a directory of packs has plain files with plain names", "[pack_storage]") {
  TempDir dir;
  const std::string packs = dir.path + "/state/packs";  // created
  const auto storage = open_in(packs);
  REQUIRE_OK(storage->create(42));
  REQUIRE(storage->name(42) == packs + "/0a1b2c3d-0000000042.pack");
  struct stat st {};
  REQUIRE(::stat(storage->name(42).c_str(), &st) == 0);
  REQUIRE((st.st_mode & 07777) == 0600);
  for (const char* name :
       {"0a1b2c3d-0000000043.pack.new", "0a1b2c3e-0000000044.pack", "0a1b2c3d-000000004x.pack",
        "0a1b2c3d-0000000000.pack", "0a1b2c3d-4294967296.pack", "lost+found", ".pack",
        "0a1b2c3d_0000000045.pack", "0a1b2c3d-00000000046.pack"}) {
    Fd foreign(::open((packs + "/" + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(foreign.valid());
  }
  REQUIRE(*storage->list() == std::vector<uint32_t>{42});
  REQUIRE(*open_in(packs)->list() == std::vector<uint32_t>{42});
}

TEST_CASE("a pack that is a link or no file at all is not opened", "[pack_storage]") {
  TempDir dir;
  const auto storage = open_in(dir.path);
  REQUIRE(::symlink("/etc/passwd", storage->name(1).c_str()) == 0);
  REQUIRE(::mkfifo(storage->name(2).c_str(), 0600) == 0);
  REQUIRE_FALSE(storage->read(1, 0, 1).ok());
  REQUIRE_FALSE(storage->append(1, 0, "x").ok());
  REQUIRE(storage->create(1).error().code == ErrorCode::kExists);
  REQUIRE(storage->read(2, 0, 1).error().code == ErrorCode::kDamaged);
}

TEST_CASE("a full disk is reported as that", "[pack_storage]") {
  // RLIMIT_FSIZE lets a write be cut short and the next one fail, as a full disk does.
  TempDir dir;
  const auto storage = open_in(dir.path);
  REQUIRE_OK(storage->create(1));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100'000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto status = storage->append(1, 0, std::string(200'000, 'x'));
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, old_handler);
  REQUIRE_FALSE(status.ok());
  REQUIRE(status.error().sys_errno == EFBIG);
  REQUIRE(status.error().message.find(storage->name(1)) != std::string::npos);
  REQUIRE(*storage->size(1) == 100'000);
  REQUIRE(errno_error(ENOSPC, "").code == ErrorCode::kNoSpace);
}

TEST_CASE("a store works on a directory", "[pack_storage]") {
  TempDir dir;
  const RepositoryInfo info = test_repository();
  const auto add = [&](const std::string& content) {
    auto env = LmdbEnv::open(dir.path, 16 << 20, 8);
    REQUIRE_OK(env);
    auto store = Store::open(**env, open_in(dir.path + "/packs"), info);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->replay([](WriteTxn&, std::string_view) { return Status(); }));
    {
      auto txn = (*env)->begin_write();
      REQUIRE_OK((*store)->append(**txn, make_frame(info.key, {content})));
      REQUIRE_OK((*store)->close_batch(**txn, content));
      REQUIRE_OK((*txn)->commit());
      REQUIRE_OK((*store)->after_commit());
    }
    auto txn = (*env)->begin_read();
    ChunkReader reader(**store, **txn);
    for (const std::string known : {"first", "second"}) {
      if (content == "first" && known == "second") continue;
      REQUIRE(*reader.chunk(chunk_id(info.key, known), true) == known);
    }
    size_t findings = 0;
    const auto count = [&](const std::string&) { ++findings; };
    REQUIRE_OK((*store)->check(**txn, true, count, [](uint64_t, uint64_t) { return true; }));
    REQUIRE(findings == 0);
  };
  add("first");
  add("second");
}

TEST_CASE("a power cut takes what was not synced", "[pack_storage]") {
  const auto disk = std::make_shared<MemoryDisk>();
  MemoryPackStorage storage(disk);
  std::mt19937_64 random(1);
  REQUIRE_OK(storage.create(1));
  REQUIRE_OK(storage.append(1, 0, "durable"));
  REQUIRE_OK(storage.sync(1));
  REQUIRE_OK(storage.append(1, 7, "lost"));
  disk->cut_power(PowerCut::kLoseAll, random);
  REQUIRE(disk->files.at(1).bytes == "durable");
  REQUIRE_OK(storage.append(1, 7, "dropped"));
  disk->fail_at(1, EIO);
  REQUIRE_FALSE(storage.sync(1).ok());
  REQUIRE_OK(storage.sync(1));  // succeeds, and yet:
  REQUIRE(*storage.read(1, 7, 7) == "dropped");
  disk->cut_power(PowerCut::kLoseAll, random);
  REQUIRE(disk->files.at(1).bytes == "durable" + std::string(7, '\0'));
}
