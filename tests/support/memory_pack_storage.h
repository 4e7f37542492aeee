// MemoryPackStorage: packs in memory, on a disk that can lose its power and fail when told.
//
// The disk outlives the storage: close the store, cut the power, open a new storage on the same
// disk. What a real kernel may do, this one does: unsynced bytes are lost from any place on, or are
// there with pages missing between them, and bytes whose sync failed stay readable but never become
// durable by a later sync (the kernel has dropped them from its list of dirty pages).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/pack_storage.h"

namespace holdfast::test {

enum class PowerCut {
  kLoseAll,     // of what was not synced
  kLoseSuffix,  // any prefix of the unsynced bytes survives
  kLosePages,   // any pages of the unsynced bytes are zeros
};

class MemoryDisk {
 public:
  struct File {
    std::string bytes;    // as programs see them
    std::string durable;  // as they are after a power cut
    uint64_t dropped_from = 0,
             dropped_to = 0;  // bytes whose sync failed and that were not written again
  };

  // From now on the `nth` operation that changes anything (1 is the next) fails with `sys_errno`,
  // once.
  void fail_at(uint64_t nth, int sys_errno) {
    std::lock_guard lock(mutex);
    fail_at_ = operations_ + nth;
    fail_errno_ = sys_errno;
    failed_ = false;
  }
  void fail_reads(int sys_errno) {
    std::lock_guard lock(mutex);
    read_errno_ = sys_errno;
  }
  bool failed() const { return failed_; }  // whether fail_at() came to its operation
  uint64_t operations() const { return operations_; }

  void cut_power(PowerCut cut, std::mt19937_64& random) {
    std::lock_guard lock(mutex);
    for (auto& [pack, file] : files) {
      const std::string unsynced =
          file.bytes.size() > file.durable.size() ? file.bytes.substr(file.durable.size()) : "";
      if (cut != PowerCut::kLoseAll && !unsynced.empty()) {
        file.durable += survivors(unsynced, file.durable.size(), cut, random);
      }
      file.bytes = file.durable;
      file.dropped_from = file.dropped_to = 0;
    }
  }

  std::mutex mutex;
  std::map<uint32_t, File> files;

 private:
  friend class MemoryPackStorage;
  static constexpr uint64_t kPageBytes = 4096;

  static std::string survivors(std::string unsynced, uint64_t offset, PowerCut cut,
                               std::mt19937_64& random) {
    unsynced.resize(random() % (unsynced.size() + 1));
    if (cut == PowerCut::kLosePages) {
      for (size_t at = 0; at < unsynced.size();) {
        const uint64_t page =
            std::min(kPageBytes - (offset + at) % kPageBytes, unsynced.size() - at);
        if (random() % 2 == 0) std::fill_n(unsynced.begin() + static_cast<long>(at), page, '\0');
        at += page;
      }
    }
    return unsynced;
  }
  bool fails() {  // mutex is held
    if (++operations_ != fail_at_) return false;
    failed_ = true;
    return true;
  }

  uint64_t operations_ = 0;
  uint64_t fail_at_ = 0;
  int fail_errno_ = 0;
  int read_errno_ = 0;
  bool failed_ = false;
};

class MemoryPackStorage final : public PackStorage {
 public:
  explicit MemoryPackStorage(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {}

  Result<std::vector<uint32_t>> list() override {
    std::lock_guard lock(disk_->mutex);
    std::vector<uint32_t> packs;
    for (const auto& [pack, file] : disk_->files) packs.push_back(pack);
    return packs;
  }
  Result<uint64_t> size(uint32_t pack) override {
    std::lock_guard lock(disk_->mutex);
    TRY_ASSIGN(const MemoryDisk::File* file, find(pack));
    return uint64_t{file->bytes.size()};
  }
  Status create(uint32_t pack) override {
    std::lock_guard lock(disk_->mutex);
    if (disk_->files.contains(pack)) return errno_error(EEXIST, "creating " + name(pack));
    if (disk_->fails()) return failure("creating " + name(pack));
    disk_->files[pack];
    return {};
  }
  Status append(uint32_t pack, uint64_t offset, std::string_view bytes) override {
    std::lock_guard lock(disk_->mutex);
    TRY_ASSIGN(MemoryDisk::File * file, find(pack));
    const bool fails = disk_->fails();
    if (fails) bytes = bytes.substr(0, bytes.size() / 2);  // a full disk takes what fits
    if (file->bytes.size() < offset + bytes.size()) file->bytes.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), file->bytes.begin() + static_cast<long>(offset));
    file->dropped_to = std::min(file->dropped_to, offset);
    if (fails) return failure("appending to " + name(pack));
    return {};
  }
  Status sync(uint32_t pack) override {
    std::lock_guard lock(disk_->mutex);
    TRY_ASSIGN(MemoryDisk::File * file, find(pack));
    if (disk_->fails()) {
      file->dropped_from = file->durable.size();
      file->dropped_to = file->bytes.size();
      return failure("syncing " + name(pack));
    }
    file->durable = file->bytes;
    for (uint64_t at = file->dropped_from; at < file->dropped_to; ++at) file->durable[at] = '\0';
    return {};
  }
  Status truncate(uint32_t pack, uint64_t size) override {
    std::lock_guard lock(disk_->mutex);
    TRY_ASSIGN(MemoryDisk::File * file, find(pack));
    if (disk_->fails()) return failure("truncating " + name(pack));
    file->bytes.resize(size);
    file->dropped_to = std::min(file->dropped_to, size);
    file->durable.resize(std::min<uint64_t>(file->durable.size(), size));
    return {};
  }
  Result<std::string> read(uint32_t pack, uint64_t offset, uint64_t size) override {
    std::lock_guard lock(disk_->mutex);
    TRY_ASSIGN(const MemoryDisk::File* file, find(pack));
    if (disk_->read_errno_ != 0) return errno_error(disk_->read_errno_, "reading " + name(pack));
    if (offset > file->bytes.size() || size > file->bytes.size() - offset) {
      return make_error(ErrorCode::kDamaged,
                        name(pack) + " ends before offset " + std::to_string(offset + size));
    }
    return file->bytes.substr(offset, size);
  }
  Status remove(uint32_t pack) override {
    std::lock_guard lock(disk_->mutex);
    TRY_ASSIGN(const MemoryDisk::File* file, find(pack));
    static_cast<void>(file);
    if (disk_->fails()) return failure("removing " + name(pack));
    disk_->files.erase(pack);
    return {};
  }
  std::string name(uint32_t pack) const override { return "memory-" + std::to_string(pack); }

 private:
  Result<MemoryDisk::File*> find(uint32_t pack) const {
    const auto found = disk_->files.find(pack);
    if (found == disk_->files.end()) return errno_error(ENOENT, "opening " + name(pack));
    return &found->second;
  }
  Error failure(const std::string& doing) const { return errno_error(disk_->fail_errno_, doing); }

  std::shared_ptr<MemoryDisk> disk_;
};

}  // namespace holdfast::test
