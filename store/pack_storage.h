// PackStorage: where pack files live. The seam between the store and the disk: a directory, memory
// with simulated power cuts and faults (tests), an object store some day. Packs are known by their
// number.
//
// One thread appends; any thread reads. Appended bytes are readable at once and durable after
// sync().
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

class PackStorage {
 public:
  virtual ~PackStorage() = default;
  virtual Result<std::vector<uint32_t>> list() = 0;  // ascending
  virtual Result<uint64_t> size(uint32_t pack) = 0;
  // Creates an empty pack and makes its name durable before returning. kExists where there is one.
  virtual Status create(uint32_t pack) = 0;
  virtual Status append(uint32_t pack, uint64_t offset,
                        std::string_view bytes) = 0;  // offset = current size
  virtual Status sync(uint32_t pack) = 0;             // fdatasync
  // Has the bytes written, and waits for that; they are not durable by it. Of a large pack that
  // nobody waits for, done piece by piece: a sync() of all of it would have every other one on this
  // file system wait for it, too.
  virtual Status write_back(uint32_t /*pack*/, uint64_t /*offset*/, uint64_t /*bytes*/) {
    return {};
  }
  virtual Status truncate(uint32_t pack, uint64_t size) = 0;  // durable on return
  // Exactly `size` bytes, else kDamaged ("ends before"); kNotFound where the pack is gone.
  virtual Result<std::string> read(uint32_t pack, uint64_t offset, uint64_t size) = 0;
  virtual Status remove(uint32_t pack) = 0;  // durable on return; kNotFound where there is none
  virtual std::string name(uint32_t pack) const = 0;  // for messages: its path
};

// Files `<prefix>-<number, 10 digits>.pack` in one directory. Keeps a bounded number of descriptors
// open.
class DirectoryPackStorage final : public PackStorage {
 public:
  // The directory is created (mode 0700) where it is missing.
  static Result<std::unique_ptr<DirectoryPackStorage>> open(std::string dir, std::string prefix);
  Result<std::vector<uint32_t>> list() override;
  Result<uint64_t> size(uint32_t pack) override;
  Status create(uint32_t pack) override;
  Status append(uint32_t pack, uint64_t offset, std::string_view bytes) override;
  Status sync(uint32_t pack) override;
  Status write_back(uint32_t pack, uint64_t offset, uint64_t bytes) override;
  Status truncate(uint32_t pack, uint64_t size) override;
  Result<std::string> read(uint32_t pack, uint64_t offset, uint64_t size) override;
  Status remove(uint32_t pack) override;
  std::string name(uint32_t pack) const override;

 private:
  struct OpenPack {
    std::shared_ptr<Fd> fd;
    bool writable = false;
    uint64_t last_use = 0;
  };
  DirectoryPackStorage(std::string dir, std::string prefix, Fd dir_fd)
      : dir_(std::move(dir)), prefix_(std::move(prefix)), dir_fd_(std::move(dir_fd)) {}
  std::string file_name(uint32_t pack) const;
  Status sync_directory();
  void keep_open(uint32_t pack, std::shared_ptr<Fd> fd, bool writable);  // mutex_ is held
  Result<std::shared_ptr<Fd>> descriptor(uint32_t pack, bool for_writing);
  const std::string dir_, prefix_;
  const Fd dir_fd_;
  std::mutex mutex_;  // guards open_ and uses_
  std::map<uint32_t, OpenPack> open_;
  uint64_t uses_ = 0;
};

}  // namespace holdfast
