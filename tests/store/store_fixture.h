// A store on a memory disk, with an LMDB environment in a temporary directory. Beside the store it
// keeps a table of batches, as the journal does: applied in the same transaction, and again by a
// replay.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/store.h"
#include "tests/support/memory_pack_storage.h"

namespace holdfast::test {

// In memory where the machine has such a place: thousands of commits need not wait for a disk.
class TempDir {
 public:
  TempDir() {
    std::error_code none;
    const std::filesystem::path memory = "/dev/shm";
    const bool in_memory =
        std::filesystem::is_directory(memory, none) && ::access("/dev/shm", W_OK) == 0;
    const auto parent = in_memory ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "holdfast-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

// Bytes that zstd cannot compress, the same for the same seed.
inline std::string random_text(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; at += 8) {
    const uint64_t value = random();
    std::memcpy(bytes.data() + at, &value, std::min<size_t>(8, size - at));
  }
  return bytes;
}

inline RepositoryInfo test_repository(uint8_t number = 1) {
  RepositoryInfo info;
  for (size_t i = 0; i < info.id.size(); ++i) info.id[i] = static_cast<uint8_t>(i * 3 + number);
  for (size_t i = 0; i < info.key.size(); ++i) info.key[i] = static_cast<uint8_t>(i * 7 + number);
  info.created_ns = 1'700'000'000'000'000'000;
  return info;
}

// One frame of the given chunks.
inline NewFrame make_frame(const ChunkKey& key, const std::vector<std::string>& contents,
                           ChunkKind kind = ChunkKind::kData) {
  Compressor compressor(1);
  NewFrame frame;
  std::string raw;
  for (const std::string& content : contents) {
    frame.chunks.push_back({chunk_id(key, content), static_cast<uint32_t>(content.size()), kind});
    raw += content;
  }
  frame.bytes = encode_frame(FrameType::kData, frame.chunks, raw, compressor);
  return frame;
}

class TestStore {
 public:
  TestStore() : disk(std::make_shared<MemoryDisk>()) {}

  // Opens and replays.
  Status open() {
    TRY(open_unreplayed());
    TRY_ASSIGN(replayed, store->replay([this](WriteTxn& txn, std::string_view records) {
      return put_batch(txn, records);
    }));
    return {};
  }
  Status open_unreplayed() {
    close();
    TRY_ASSIGN(env, LmdbEnv::open(dir.path, 64 << 20, 8));
    TRY_ASSIGN(batches_table, env->table("test_batches"));
    TRY_ASSIGN(store, Store::open(*env, std::make_unique<MemoryPackStorage>(disk), info));
    store->set_pack_bytes_target(pack_bytes_target);
    return {};
  }
  void close() {
    store.reset();
    env.reset();
  }
  void lose_index() {
    close();
    std::filesystem::remove(dir.path + "/data.mdb");
  }
  // The index as a power cut may leave it: one commit behind.
  void save_index() {
    std::filesystem::copy_file(dir.path + "/data.mdb", dir.path + "/saved",
                               std::filesystem::copy_options::overwrite_existing);
  }
  void restore_index() {
    close();
    std::filesystem::copy_file(dir.path + "/saved", dir.path + "/data.mdb",
                               std::filesystem::copy_options::overwrite_existing);
  }

  // One frame for each element of `frames`, then the journal frame. Rolls back when it fails; the
  // error is the batch's, or the roll back's where that fails too.
  Status write(const std::vector<std::vector<std::string>>& frames, const std::string& records) {
    auto written = write_without_end(frames, records);
    if (!written.ok()) {
      TRY(store->roll_back());
      return written;
    }
    auto ended = store->after_commit();
    static_cast<void>(ended);  // the batch is committed whatever it says
    return {};
  }
  Status write_without_end(const std::vector<std::vector<std::string>>& frames,
                           const std::string& records) {
    TRY_ASSIGN(const auto txn, env->begin_write());
    for (const auto& contents : frames) TRY(store->append(*txn, make_frame(info.key, contents)));
    TRY(store->close_batch(*txn, records));
    TRY(put_batch(*txn, records));
    return txn->commit();
  }

  std::vector<std::string> batches() {
    std::vector<std::string> found;
    auto txn = env->begin_read();
    auto cursor = Cursor::open(**txn, batches_table);
    for (auto more = cursor->first(); *more; more = cursor->next()) {
      found.emplace_back(cursor->value());
    }
    return found;
  }
  // The chunk's bytes, or the error's message.
  std::string read(const std::string& content) {
    auto txn = env->begin_read();
    ChunkReader reader(*store, **txn);
    auto bytes = reader.chunk(chunk_id(info.key, content), true);
    return bytes.ok() ? std::string(*bytes) : "error: " + bytes.error().message;
  }
  bool has(const std::string& content) {
    auto txn = env->begin_read();
    return store->has(**txn, chunk_id(info.key, content));
  }
  std::vector<std::string> findings(bool read_data) {
    std::vector<std::string> found;
    auto txn = env->begin_read();
    auto status = store->check(
        **txn, read_data, [&](const std::string& text) { found.push_back(text); },
        [](uint64_t, uint64_t) { return true; });
    if (!status.ok()) found.push_back("error: " + status.error().message);
    return found;
  }
  std::string& pack_bytes(uint32_t pack) { return disk->files.at(pack).bytes; }

  TempDir dir;
  std::shared_ptr<MemoryDisk> disk;
  RepositoryInfo info = test_repository();
  std::unique_ptr<LmdbEnv> env;
  std::unique_ptr<Store> store;
  Dbi batches_table = 0;
  uint64_t replayed = 0;
  uint64_t pack_bytes_target = kPackBytesTarget;

 private:
  Status put_batch(WriteTxn& txn, std::string_view records) {
    TRY_ASSIGN(const uint64_t count, txn.entry_count(batches_table));
    std::string key;
    put_be64(key, count + 1);
    return txn.put(batches_table, key, records);
  }
};

// Shows the error's message where there is one.
#define REQUIRE_OK(expression)                                               \
  do {                                                                       \
    const auto& require_ok_result = (expression);                            \
    INFO((require_ok_result.ok() ? "" : require_ok_result.error().message)); \
    REQUIRE(require_ok_result.ok());                                         \
  } while (false)

}  // namespace holdfast::test
