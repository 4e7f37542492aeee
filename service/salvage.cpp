#include "service/salvage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/path.h"
#include "journal/record.h"
#include "service/repository.h"
#include "store/pack_scan.h"

namespace holdfast {

namespace {

constexpr const char* kMisplaced = ".misplaced";

Error damaged_salvage(const std::string& why) { return make_error(ErrorCode::kDamaged, why); }

class Salvager {
 public:
  Salvager(PackStorage& storage, const RepositoryInfo& info, uint32_t pack, uint64_t bytes)
      : info_(info), scan_(storage, pack, bytes, kReadAheadAllBytes) {
    result_.pack = pack;
    result_.there = true;
  }
  Result<SalvagedPack> run(const std::function<void(uint64_t)>& read_bytes);

 private:
  Status look_at_header();
  Result<bool> take_frame(uint64_t at, const FrameHeader& header);
  Status take_data(const DecodedFrame& frame) const;
  Status take_records(const DecodedFrame& frame, uint64_t at, SoundFrame& sound) const;
  Result<bool> is_footer(const DecodedFrame& frame, uint64_t at, uint64_t end);
  // What was noted so far stands before something that was complete.
  void settle() {
    result_.damage.insert(result_.damage.end(), result_.tail.begin(), result_.tail.end());
    result_.tail.clear();
  }
  void note(uint64_t at, const std::string& why) {
    result_.tail.push_back(scan_.name() + " at offset " + std::to_string(at) + ": " + why);
  }

  const RepositoryInfo& info_;
  PackScan scan_;
  Decompressor decompressor_;
  SalvagedPack result_;
  uint64_t batch_end_ = kPackHeaderBytes;  // of the last batch
  bool whole_ = true;                      // nothing is missing since then
};

Status Salvager::look_at_header() {
  TRY_ASSIGN(const std::string_view bytes, scan_.bytes_at(0, kPackHeaderBytes));
  const auto header = decode_pack_header(bytes);
  const bool compacted = is_compacted(scan_.pack());
  if (!compacted) result_.range_first = result_.range_last = scan_.pack();
  if (!header.ok()) {
    if (header.error().code == ErrorCode::kUnsupported) return header.error().in(scan_.name());
    note(0, header.error().message);
    return {};
  }
  PackHeader expected{kPackFormat, scan_.pack(), info_.id, info_.created_ns, info_.key};
  if (auto identity = check_pack_identity(*header, expected); !identity.ok()) {
    note(0, identity.error().message);
  } else if (compacted) {
    result_.range_first = header->first;
    result_.range_last = header->last;
  }
  return {};
}

Status Salvager::take_data(const DecodedFrame& frame) const {
  size_t at = 0;
  for (const ChunkInFrame& chunk : frame.chunks) {
    if (chunk_id(info_.key, std::string_view(frame.raw).substr(at, chunk.bytes)) != chunk.id) {
      return damaged_salvage("a chunk is not what its id says");
    }
    at += chunk.bytes;
  }
  return {};
}

Status Salvager::take_records(const DecodedFrame& frame, uint64_t at, SoundFrame& sound) const {
  std::vector<std::string_view> batches;
  if (frame.header.type == FrameType::kJournal) {
    TRY_ASSIGN(const Batch batch, decode_batch(info_.key, scan_.pack(), at, frame.raw));
    if (batch.first_offset != batch_end_ && whole_)
      return damaged_salvage("it closes other frames");
    batches.push_back(batch.records);
  } else {
    TRY_ASSIGN(batches, decode_batches(info_.key, scan_.pack(), at, frame.raw));
  }
  for (const std::string_view batch : batches) {
    TRY_ASSIGN(const auto records, split_records(batch));
    for (const std::string_view record : records) {
      const auto seq = peek_sequence(record);
      if (!seq) return damaged_salvage("a record has no sequence");
      sound.last = *seq;
      if (sound.first.value == 0) sound.first = sound.last;
    }
  }
  return {};
}

Result<bool> Salvager::is_footer(const DecodedFrame& frame, uint64_t at, uint64_t end) {
  const auto named = decode_footer(info_.key, scan_.pack(), at, frame.raw);
  TRY_ASSIGN(const std::string_view tail, scan_.bytes_at(end, kPackTrailerBytes + 1));
  const auto trailer = decode_pack_trailer(tail);
  if (!named.ok() || !trailer.ok() || *trailer != at) return false;
  bool same = named->size() == result_.frames.size();
  for (size_t i = 0; same && i < named->size(); ++i) {
    same = (*named)[i].offset == result_.frames[i].offset &&
           (*named)[i].frame_bytes == result_.frames[i].bytes;
  }
  if (!same && result_.damage.empty() && result_.tail.empty()) {
    note(at, "the footer names other frames");
  }
  return true;
}

// False: the frame is damaged.
Result<bool> Salvager::take_frame(uint64_t at, const FrameHeader& header) {
  TRY_ASSIGN(const auto bytes, scan_.frame_at(at, header));
  if (!bytes.value) {
    note(at, bytes.damage.message);
    return false;
  }
  const auto frame = decode_frame(*bytes.value, decompressor_);
  if (!frame.ok()) {
    note(at, frame.error().message);
    return false;
  }
  SoundFrame sound{at, header.frame_bytes(), header.type, {}, {}};
  if (header.type == FrameType::kFooter) {
    TRY_ASSIGN(result_.sealed, is_footer(*frame, at, at + header.frame_bytes()));
    if (!result_.sealed) note(at, "the footer or the trailer is damaged");
    return result_.sealed;
  }
  const bool is_data = header.type == FrameType::kData;
  const Status taken = is_data ? take_data(*frame) : take_records(*frame, at, sound);
  if (!taken.ok()) {
    note(at, taken.error().message);
    return false;
  }
  result_.frames.push_back(sound);
  if (is_data) return true;
  batch_end_ = at + header.frame_bytes();
  whole_ = true;
  settle();
  return true;
}

Result<SalvagedPack> Salvager::run(const std::function<void(uint64_t)>& read_bytes) {
  TRY(look_at_header());
  uint64_t at = kPackHeaderBytes;
  while (at < scan_.pack_bytes() && !result_.sealed) {
    read_bytes(at);
    TRY_ASSIGN(const auto header, scan_.header_at(at));
    if (header.value) {
      TRY_ASSIGN(const bool sound, take_frame(at, *header.value));
      whole_ = whole_ && sound;
      at += header.value->frame_bytes();
      continue;
    }
    note(at, header.damage.message);
    whole_ = false;
    TRY_ASSIGN(const auto next, scan_.find_header(at + 1));
    if (!next) break;
    at = *next;
  }
  const uint64_t end = result_.sealed ? at + kPackTrailerBytes : batch_end_;
  result_.torn = end < scan_.pack_bytes();
  if (result_.sealed && result_.torn) note(end, "there are bytes behind its end");
  if (result_.sealed) settle();
  return result_;
}

// A file that becomes a pack.
class PackFile {
 public:
  PackFile(std::string path, const RepositoryInfo& info, uint32_t pack)
      : path_(std::move(path)), info_(info), pack_(pack) {}
  Status begin(uint32_t first, uint32_t last);
  Status add_data(std::string_view frame) { return add_frame(FrameType::kData, frame); }
  Status add_batch(std::string_view records);
  Status finish(bool sealed);

 private:
  Status add_frame(FrameType type, std::string_view bytes);
  Status append(std::string_view bytes);
  const std::string path_;
  const RepositoryInfo& info_;
  const uint32_t pack_;
  Compressor compressor_{1};
  Fd fd_;
  uint64_t end_ = 0, batch_start_ = 0;
  std::vector<FrameInPack> frames_;
};

Status PackFile::begin(uint32_t first, uint32_t last) {
  fd_ = Fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_) return errno_error(errno, "creating " + path_);
  PackHeader header{kPackFormat, pack_, info_.id, info_.created_ns, info_.key};
  if (is_compacted(pack_)) {
    header.first = first;
    header.last = last;
  }
  TRY(append(encode_pack_header(header)));
  batch_start_ = end_;
  return {};
}

Status PackFile::append(std::string_view bytes) {
  if (end_ + bytes.size() > UINT32_MAX) return damaged_salvage(path_ + " would become too large");
  TRY(pwrite_full(fd_.get(), bytes, end_));
  end_ += bytes.size();
  return {};
}

Status PackFile::add_frame(FrameType type, std::string_view bytes) {
  frames_.push_back({static_cast<uint32_t>(end_), static_cast<uint32_t>(bytes.size()), type});
  return append(bytes);
}

Status PackFile::add_batch(std::string_view records) {
  if (is_compacted(pack_)) {
    if (records.empty()) return {};
    const std::string payload = encode_batches(info_.key, pack_, end_, {std::string(records)});
    return add_frame(FrameType::kBatches,
                     encode_frame(FrameType::kBatches, {}, payload, compressor_));
  }
  const std::string payload = encode_batch(info_.key, pack_, end_, {batch_start_, records});
  TRY(add_frame(FrameType::kJournal, encode_frame(FrameType::kJournal, {}, payload, compressor_)));
  batch_start_ = end_;
  return {};
}

Status PackFile::finish(bool sealed) {
  if (end_ != batch_start_ && !is_compacted(pack_)) TRY(add_batch({}));
  if (sealed) {
    const uint64_t at = end_;
    const std::string payload = encode_footer(info_.key, pack_, at, frames_);
    TRY(append(encode_frame(FrameType::kFooter, {}, payload, compressor_)));
    TRY(append(encode_pack_trailer(at)));
  }
  if (::fsync(fd_.get()) != 0) return errno_error(errno, "syncing " + path_);
  return {};
}

// The batches of a journal or batches frame that was found sound.
Result<std::vector<std::string>> batches_at(PackStorage& storage, const RepositoryInfo& info,
                                            uint32_t pack, const SoundFrame& frame) {
  TRY_ASSIGN(const std::string bytes, storage.read(pack, frame.offset, frame.bytes));
  Decompressor decompressor;
  TRY_ASSIGN(const DecodedFrame decoded, decode_frame(bytes, decompressor));
  std::vector<std::string> batches;
  if (frame.type == FrameType::kJournal) {
    TRY_ASSIGN(const Batch batch, decode_batch(info.key, pack, frame.offset, decoded.raw));
    batches.emplace_back(batch.records);
    return batches;
  }
  TRY_ASSIGN(const auto all, decode_batches(info.key, pack, frame.offset, decoded.raw));
  for (const std::string_view batch : all) batches.emplace_back(batch);
  return batches;
}

Status put_in_place(const DamagedDir& dir, const std::string& made, const std::string& path,
                    bool there) {
  if (there) {
    TRY_ASSIGN(const std::string kept, dir.keep(path, std::string(split_last(path).second)));
    (void)kept;
  }
  if (::rename(made.c_str(), path.c_str()) != 0) return errno_error(errno, "replacing " + path);
  return sync_dir(std::string(split_last(path).first));
}

}  // namespace

Sequence SalvagedPack::first() const {
  for (const SoundFrame& frame : frames) {
    if (frame.first.value != 0) return frame.first;
  }
  return {};
}

Sequence SalvagedPack::last() const {
  for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
    if (frame->last.value != 0) return frame->last;
  }
  return {};
}

Result<SalvagedPack> salvage_pack(PackStorage& storage, const RepositoryInfo& info, uint32_t pack,
                                  const std::function<void(uint64_t)>& read_bytes) {
  TRY_ASSIGN(const uint64_t bytes, storage.size(pack));
  return Salvager(storage, info, pack, bytes).run(read_bytes);
}

Status replace_pack(PackStorage& storage, const RepositoryInfo& info, const DamagedDir& damaged_dir,
                    const SalvagedPack& pack, const std::vector<AddedBatch>& added, bool sealed) {
  const std::string path = storage.name(pack.pack), made = path + ".repair";
  PackFile file(made, info, pack.pack);
  TRY(file.begin(pack.range_first, pack.range_last));
  const bool compacted = is_compacted(pack.pack);
  // In a compacted pack all chunks stand before all batches.
  for (const SoundFrame& frame : pack.frames) {
    if (!compacted || frame.type != FrameType::kData) continue;
    TRY_ASSIGN(const std::string bytes, storage.read(pack.pack, frame.offset, frame.bytes));
    TRY(file.add_data(bytes));
  }
  auto next = added.begin();
  for (size_t i = 0; i <= pack.frames.size(); ++i) {
    for (; next != added.end() && next->before == i; ++next) TRY(file.add_batch(next->records));
    if (i == pack.frames.size()) break;
    const SoundFrame& frame = pack.frames[i];
    if (frame.type == FrameType::kData) {
      if (compacted) continue;
      TRY_ASSIGN(const std::string bytes, storage.read(pack.pack, frame.offset, frame.bytes));
      TRY(file.add_data(bytes));
      continue;
    }
    TRY_ASSIGN(const auto batches, batches_at(storage, info, pack.pack, frame));
    for (const std::string& batch : batches) TRY(file.add_batch(batch));
  }
  TRY(file.finish(sealed));
  return put_in_place(damaged_dir, made, path, pack.there);
}

Result<std::vector<std::string>> unswap_packs(const std::string& packs_dir,
                                              const RepositoryInfo& info,
                                              const DamagedDir& damaged_dir) {
  std::vector<std::string> done;
  TRY_ASSIGN(const auto storage, DirectoryPackStorage::open(packs_dir, pack_prefix(info)));
  TRY_ASSIGN(const auto packs, storage->list());
  for (const uint32_t pack : packs) {
    const auto bytes = storage->read(pack, 0, kPackHeaderBytes);
    const auto header = bytes.ok() ? decode_pack_header(*bytes) : Result<PackHeader>(bytes.error());
    if (!header.ok() || header->pack == pack || header->repository_id != info.id) continue;
    const std::string from = storage->name(pack);
    if (::rename(from.c_str(), (from + kMisplaced).c_str()) != 0) {
      return errno_error(errno, "moving " + from);
    }
    done.push_back(from + " holds pack " + std::to_string(header->pack));
  }
  // Those of a repair that was killed here, too.
  std::vector<std::pair<uint32_t, std::string>> strays;
  TRY_ASSIGN(const Fd dir, open_directory(packs_dir));
  TRY_ASSIGN(const auto names, list_names(dir.get()));
  for (const std::string& name : names) {
    if (!name.ends_with(kMisplaced)) continue;
    const std::string path = join_path(packs_dir, name);
    std::string bytes(kPackHeaderBytes, '\0');
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return errno_error(errno, "opening " + path);
    TRY_ASSIGN(const size_t got, pread_full(fd.get(), bytes.data(), bytes.size(), 0));
    const auto header = decode_pack_header(std::string_view(bytes).substr(0, got));
    if (header.ok()) strays.emplace_back(header->pack, path);
  }
  for (const auto& [number, parked] : strays) {
    const std::string to = storage->name(number);
    struct stat st {};
    if (::lstat(to.c_str(), &st) != 0) {
      if (::rename(parked.c_str(), to.c_str()) != 0) return errno_error(errno, "moving " + parked);
      done.push_back("it has its name " + to + " again");
      continue;
    }
    TRY_ASSIGN(const std::string kept,
               damaged_dir.keep(parked, std::string(split_last(to).second) + ".second"));
    ::unlink(parked.c_str());
    done.push_back("there is a " + to + " already; the other one is kept as " + kept);
  }
  if (!done.empty()) TRY(sync_dir(packs_dir));
  return done;
}

}  // namespace holdfast
