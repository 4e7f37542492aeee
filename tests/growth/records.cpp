#include "tests/growth/records.h"

#include <random>
#include <vector>

#include "service/state.h"

namespace holdfast::growth {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr uint64_t kDirsInDir = 100;

struct File {
  NodeId node;
  uint32_t dir = 0, renames = 0;
  Sequence newest;
  bool there = false;
};

class Maker {
 public:
  Maker(State& state, const Size& size, ManualClock& clock)
      : state_(state), size_(size), clock_(clock) {}
  Status run(const std::string& root_path);

 private:
  Status make_dirs(const std::string& root_path);
  Result<NodeId> make_dir(NodeId parent, const std::string& name, const std::string& note);
  Status create(uint64_t index);
  Status change(uint64_t index);
  Status rename(uint64_t index);
  Status remove(uint64_t index);
  Record record_of(RecordKind kind, uint64_t index);
  void fill(Record& record);
  std::string name_of(uint64_t index) const;
  Status add(Record& record);
  Status end_batch();

  State& state_;
  const Size size_;
  ManualClock& clock_;
  Compressor compressor_{1};
  std::mt19937_64 random_{1};
  std::vector<File> files_;
  std::vector<NodeId> dirs_;
  NodeId root_;
  std::unique_ptr<WriteTxn> txn_;
  std::string records_, contents_;
  std::vector<ChunkInFrame> chunks_;
  Sequence first_, last_;
};

std::string Maker::name_of(uint64_t index) const {
  const std::string name = "file-" + std::to_string(index);
  const uint32_t renames = files_[index].renames;
  return renames == 0 ? name + ".dat" : name + ".r" + std::to_string(renames) + ".dat";
}

Status Maker::add(Record& record) {
  clock_.wall += kMillisecond;
  clock_.boottime += kMillisecond;
  TRY_ASSIGN(const std::string bytes, state_.journal->append(*txn_, record, clock_));
  records_ += bytes;
  last_ = record.seq;
  if (first_.value == 0) first_ = record.seq;
  if (last_.value - first_.value + 1 < size_.batch) return {};
  return end_batch();
}

Status Maker::end_batch() {
  if (first_.value == 0) return {};
  if (!chunks_.empty()) {
    NewFrame frame{encode_frame(FrameType::kData, chunks_, contents_, compressor_), chunks_};
    TRY(state_.store->append(*txn_, frame));
  }
  TRY(state_.journal->end_batch(*txn_, first_, last_));
  TRY(state_.store->close_batch(*txn_, records_));
  TRY(txn_->commit());
  TRY(state_.store->after_commit());
  records_.clear();
  contents_.clear();
  chunks_.clear();
  first_ = {};
  txn_.reset();
  TRY_ASSIGN(txn_, state_.env->begin_write());
  return {};
}

// A content that no other version has.
void Maker::fill(Record& record) {
  const std::string content = "content " + std::to_string(random_()) + " of a version\n";
  record.hash = content_hash(content);
  record.content = {ContentKind::kChunk, chunk_id(state_.info.key, content)};
  record.stat.size = content.size();
  chunks_.push_back({record.content.id, static_cast<uint32_t>(content.size())});
  contents_ += content;
}

Record Maker::record_of(RecordKind kind, uint64_t index) {
  const File& file = files_[index];
  Record record;
  record.kind = kind;
  record.verdict = kind == RecordKind::kModify ? Verdict::kModified : Verdict::kNone;
  record.root = root_;
  record.node = file.node;
  record.parent = dirs_[file.dir];
  record.name = name_of(index);
  record.stat.mode = 0100644;
  record.stat.inode = 1000 + file.node.value;
  record.stat.mtime_ns = record.stat.ctime_ns = record.stat.btime_ns = clock_.wall;
  record.handle = xxh3_64(record.name);
  record.prev = file.newest;
  fill(record);
  return record;
}

Result<NodeId> Maker::make_dir(NodeId parent, const std::string& name, const std::string& note) {
  TRY_ASSIGN(const NodeId node, state_.journal->new_node(*txn_));
  Record record;
  record.kind = RecordKind::kCreate;
  record.type = FileType::kDir;
  record.node = node;
  record.parent = parent;
  record.name = name;
  record.root = root_.value == 0 ? node : root_;
  record.stat.mode = 0040755;
  record.stat.inode = 1000 + node.value;
  record.stat.mtime_ns = record.stat.ctime_ns = clock_.wall;
  if (!note.empty()) record.flags = kFlagRootAdded;
  record.note = note;
  TRY(add(record));
  return node;
}

Status Maker::make_dirs(const std::string& root_path) {
  TRY_ASSIGN(root_, make_dir({}, "big", root_path));
  NodeId above;
  for (uint64_t i = 0; i < size_.dirs; ++i) {
    if (i % kDirsInDir == 0) {
      TRY_ASSIGN(above, make_dir(root_, "part-" + std::to_string(i / kDirsInDir), ""));
    }
    TRY_ASSIGN(const NodeId dir, make_dir(above, "dir-" + std::to_string(i), ""));
    dirs_.push_back(dir);
  }
  return {};
}

Status Maker::create(uint64_t index) {
  File& file = files_[index];
  TRY_ASSIGN(file.node, state_.journal->new_node(*txn_));
  file.dir = static_cast<uint32_t>(index % size_.dirs);
  file.newest = {};
  Record record = record_of(RecordKind::kCreate, index);
  TRY(add(record));
  file.newest = record.seq;
  file.there = true;
  return {};
}

Status Maker::change(uint64_t index) {
  Record record = record_of(RecordKind::kModify, index);
  TRY(add(record));
  files_[index].newest = record.seq;
  return {};
}

Status Maker::rename(uint64_t index) {
  File& file = files_[index];
  const NodeId from_parent = dirs_[file.dir];
  const std::string from = name_of(index);
  ++file.renames;
  file.dir = static_cast<uint32_t>(random_() % dirs_.size());
  Record record = record_of(RecordKind::kRename, index);
  record.from_parent = from_parent;
  record.from_name = from;
  TRY(add(record));
  file.newest = record.seq;
  return {};
}

Status Maker::remove(uint64_t index) {
  Record record = record_of(RecordKind::kDelete, index);
  TRY(add(record));
  files_[index].there = false;
  return {};
}

Status Maker::run(const std::string& root_path) {
  TRY_ASSIGN(txn_, state_.env->begin_write());
  std::string booted;
  TRY_ASSIGN(const uint32_t boot, state_.journal->boot(*txn_, clock_, booted));
  CHECK(boot != 0);
  records_ = booted;
  TRY_ASSIGN(const Head head, state_.journal->head(*txn_));
  first_ = last_ = head.seq;
  TRY(make_dirs(root_path));
  files_.resize(size_.files);
  for (uint64_t i = 0; i < size_.files && last_.value < size_.records; ++i) TRY(create(i));
  while (last_.value < size_.records) {
    const uint64_t index = random_() % size_.files;
    const uint64_t chance = random_() % 1000;
    if (!files_[index].there) {
      TRY(create(index));
    } else if (chance < 10) {
      TRY(rename(index));
    } else if (chance < 15) {
      TRY(remove(index));
    } else {
      TRY(change(index));
    }
  }
  return end_batch();
}

}  // namespace

Status make_records(const std::string& state_dir, const std::string& root_path, const Size& size) {
  ManualClock clock;
  NullLog log;
  TRY_ASSIGN(const auto state, State::open(state_dir, true, clock, log));
  if (size.pack_bytes != 0) state->store->set_pack_bytes_target(size.pack_bytes);
  return Maker(*state, size, clock).run(root_path);
}

}  // namespace holdfast::growth
