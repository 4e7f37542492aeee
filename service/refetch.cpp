#include "service/refetch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/fs.h"
#include "base/path.h"
#include "service/frame_builder.h"
#include "service/pruned.h"
#include "service/query.h"

namespace holdfast {

namespace {

constexpr size_t kIdsOfRecordMax = 8192;
constexpr uint64_t kRefetchBytes = 64ull << 20;

using ChunkSet = std::set<ChunkId>;

// Finds the chunks that a content lacks, through all levels of its recipes.
class Gaps {
 public:
  Gaps(const State& state, const LmdbTxn& txn)
      : state_(state), txn_(txn), reader_(*state.store, txn) {}
  const ChunkSet& of(const ContentRef& content) {
    const auto known = known_.find(content.id);
    if (known != known_.end()) return known->second;
    ChunkSet gaps;
    if (content.kind == ContentKind::kChunk || content.kind == ContentKind::kRecipe) {
      collect(content.id, content.kind == ContentKind::kRecipe, gaps);
    }
    return known_.emplace(content.id, std::move(gaps)).first->second;
  }

 private:
  void collect(const ChunkId& id, bool recipe, ChunkSet& gaps) {
    if (!there(id)) {
      gaps.insert(id);
      return;
    }
    if (!recipe) return;
    const auto bytes = reader_.chunk(id);
    const auto decoded = bytes.ok() ? decode_recipe(*bytes) : Result<Recipe>(bytes.error());
    if (!decoded.ok()) {
      gaps.insert(id);
      return;
    }
    for (const Part& part : decoded->parts) {
      if (part.kind != PartKind::kHole) collect(part.id, part.kind == PartKind::kRecipe, gaps);
    }
  }

  // Also in a pack that is about to go: until then it is there.
  bool there(const ChunkId& id) const {
    const auto place = state_.store->locate(txn_, id);
    return place.ok() && place->has_value();
  }

  const State& state_;
  const LmdbTxn& txn_;
  ChunkReader reader_;
  std::unordered_map<ChunkId, ChunkSet, ChunkIdHash> known_;  // by content
};

// A live file whose bytes may be those of a content.
class LiveFile {
 public:
  LiveFile(State& state, const LmdbTxn& txn, FrameBuilder& builder, ChunkSet& wanted)
      : state_(state), txn_(txn), builder_(builder), wanted_(wanted) {}
  // Stores what of the file's chunks is wanted; every chunk proves itself by its keyed id.
  void read(const Record& version);
  uint64_t chunks = 0, bytes = 0;

 private:
  Result<Fd> open(const Record& version) const;
  void offer(std::string_view data, ChunkKind kind, const ChunkId& id);
  Status along_recipe(int fd, const ChunkId& id, uint64_t& at);
  Status cut_anew(int fd, uint64_t size);

  State& state_;
  const LmdbTxn& txn_;
  FrameBuilder& builder_;
  ChunkSet& wanted_;
};

void LiveFile::offer(std::string_view data, ChunkKind kind, const ChunkId& id) {
  if (wanted_.erase(id) == 0) return;
  builder_.add(id, kind, data);
  ++chunks;
  bytes += data.size();
}

Result<Fd> LiveFile::open(const Record& version) const {
  TRY_ASSIGN(const auto roots, state_.journal->roots(txn_));
  TRY_ASSIGN(const Head head, state_.journal->head(txn_));
  TRY_ASSIGN(const std::string dir, state_.journal->dir_path(txn_, version.parent, head.seq));
  for (const Root& root : roots) {
    if (root.node != version.root) continue;
    TRY_ASSIGN(const Fd top, open_directory(root.path));
    TRY_ASSIGN(Fd fd, open_beneath(top.get(), join_path(dir, version.name), O_RDONLY | O_NONBLOCK));
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) break;
    return fd;
  }
  return make_error(ErrorCode::kNotFound, "there is no such file now");
}

// The recipe says which bytes each chunk covers.
Status LiveFile::along_recipe(int fd, const ChunkId& id, uint64_t& at) {
  ChunkReader reader(*state_.store, txn_);
  TRY_ASSIGN(const std::string_view bytes_of_recipe, reader.chunk(id));
  TRY_ASSIGN(const Recipe recipe, decode_recipe(bytes_of_recipe));
  for (const Part& part : recipe.parts) {
    if (part.kind == PartKind::kRecipe && state_.store->has(txn_, part.id)) {
      TRY(along_recipe(fd, part.id, at));
      continue;
    }
    if (part.kind == PartKind::kData && wanted_.contains(part.id) && part.bytes <= kChunkBytesMax) {
      std::string data(part.bytes, '\0');
      TRY_ASSIGN(const size_t got, pread_full(fd, data.data(), data.size(), at));
      if (got == data.size() && chunk_id(state_.info.key, data) == part.id) {
        offer(data, ChunkKind::kData, part.id);
      }
    }
    at += part.bytes;
  }
  return {};
}

// As it was cut when it was captured, holes left aside.
Status LiveFile::cut_anew(int fd, uint64_t size) {
  const ChunkSizes sizes = chunk_sizes_for(size);
  const Chunker chunker(state_.store->gear(), sizes);
  RecipeBuilder recipe([&](const std::string& block) {
    const ChunkId id = chunk_id(state_.info.key, block);
    offer(block, ChunkKind::kRecipe, id);
    return id;
  });
  std::string window;
  for (uint64_t at = 0; at < size;) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(size - at, sizes.max));
    window.resize(wanted);
    TRY_ASSIGN(const size_t got, pread_full(fd, window.data(), wanted, at));
    if (got < wanted) return {};  // it became shorter
    const size_t cut = chunker.next_cut(window);
    if (cut == 0) return {};
    const std::string_view data = std::string_view(window).substr(0, cut);
    const ChunkId id = chunk_id(state_.info.key, data);
    offer(data, ChunkKind::kData, id);
    recipe.add({PartKind::kData, cut, id});
    at += cut;
  }
  (void)recipe.finish();
  return {};
}

void LiveFile::read(const Record& version) {
  const auto fd = open(version);
  if (!fd.ok()) return;
  const ContentRef& content = version.content;
  if (content.kind == ContentKind::kChunk) {
    if (version.stat.size > kChunkBytesMax) return;
    std::string data(version.stat.size, '\0');
    const auto got = pread_full(fd->get(), data.data(), data.size(), 0);
    if (got.ok() && *got == data.size() && chunk_id(state_.info.key, data) == content.id) {
      offer(data, ChunkKind::kData, content.id);
    }
    return;
  }
  uint64_t at = 0;
  if (state_.store->has(txn_, content.id)) (void)along_recipe(fd->get(), content.id, at).ok();
  (void)cut_anew(fd->get(), version.stat.size).ok();
}

class Refetch {
 public:
  Refetch(State& state, const Clock& clock) : state_(state), clock_(clock) {}
  Result<RefetchResult> run();

 private:
  Result<ChunkSet> missing_now();
  Status fetch(ChunkSet wanted);
  Status commit(const std::vector<NewFrame>& frames, const std::vector<Record>& records);
  Status name_lost(const ChunkSet& missing);
  Status tell(const ChunkSet& missing);

  State& state_;
  const Clock& clock_;
  Compressor compressor_{3};
  RefetchResult result_;
};

Result<ChunkSet> Refetch::missing_now() {
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  Gaps gaps(state_, *txn);
  TRY_ASSIGN(const Pruned pruned, Pruned::load(*state_.journal, *txn));
  ChunkSet missing;
  TRY(state_.journal->for_each_record(*txn, Sequence{1}, false, [&](const Record& record) {
    const ChunkSet& of = gaps.of(record.content);
    if (of.empty() || pruned.has(*state_.journal, *txn, record)) return Visit::kContinue;
    missing.insert(of.begin(), of.end());
    return Visit::kContinue;
  }));
  return missing;
}

// From each file whose present content lacks something.
Status Refetch::fetch(ChunkSet wanted) {
  FrameBuilder builder(compressor_);
  {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(const Head head, state_.journal->head(*txn));
    Gaps gaps(state_, *txn);
    std::vector<Record> versions;
    TRY(state_.journal->for_each_node(*txn, NodeId{}, head.seq, [&](const Record& version) {
      const bool there = version.type == FileType::kFile && version.kind != RecordKind::kDelete;
      if (there && !gaps.of(version.content).empty()) versions.push_back(version);
      return Visit::kContinue;
    }));
    LiveFile live(state_, *txn, builder, wanted);
    for (const Record& version : versions) live.read(version);
    result_.chunks_refetched += live.chunks;
    result_.bytes_refetched += live.bytes;
  }
  builder.finish();
  const std::vector<NewFrame> frames = builder.take();
  if (frames.empty()) return {};
  const std::vector<Record> no_records;
  return commit(frames, no_records);
}

Status Refetch::commit(const std::vector<NewFrame>& frames, const std::vector<Record>& records) {
  const auto put = [&]() -> Status {
    TRY_ASSIGN(const auto txn, state_.env->begin_write());
    for (const NewFrame& frame : frames) TRY(state_.store->append(*txn, frame));
    std::string bytes;
    Sequence first, last;
    for (Record record : records) {
      TRY_ASSIGN(const std::string encoded, state_.journal->append(*txn, record, clock_));
      bytes += encoded;
      last = record.seq;
      if (first.value == 0) first = last;
    }
    if (first.value != 0) TRY(state_.journal->end_batch(*txn, first, last));
    TRY(state_.store->close_batch(*txn, bytes));
    TRY(txn->commit());
    if (last.value != 0) result_.told = last;
    return {};
  };
  if (auto done = put(); !done.ok()) {
    (void)state_.store->roll_back();
    return done;
  }
  return state_.store->after_commit();
}

// One line for each place and span of time in which a content lacks something.
Status Refetch::name_lost(const ChunkSet& missing) {
  if (missing.empty()) return {};
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  Gaps gaps(state_, *txn);
  Query query(state_, *txn);
  TRY_ASSIGN(const Pruned pruned, Pruned::load(*state_.journal, *txn));
  std::map<NodeId, size_t> open;  // the node's entry in lost that goes on
  std::map<NodeId, ChunkId> content;
  TRY(state_.journal->for_each_record(*txn, Sequence{1}, false, [&](const Record& record) {
    if (!record.is_node_record() || record.type != FileType::kFile) return Visit::kContinue;
    const auto goes_on = open.find(record.node);
    const bool gone = record.kind == RecordKind::kDelete;
    if (goes_on != open.end()) {
      if (!gone && record.content.id == content[record.node]) return Visit::kContinue;
      result_.lost[goes_on->second].until = record.seq;
      result_.lost[goes_on->second].until_ns = record.time_ns;
      open.erase(goes_on);
    }
    if (gone || gaps.of(record.content).empty()) return Visit::kContinue;
    if (pruned.has(*state_.journal, *txn, record)) return Visit::kContinue;
    const auto [root, path] = query.place(record);
    open[record.node] = result_.lost.size();
    content[record.node] = record.content.id;
    result_.lost.push_back({root, path, record.seq, {}, record.time_ns, 0, record.stat.size});
    return Visit::kContinue;
  }));
  return {};
}

Status Refetch::tell(const ChunkSet& missing) {
  std::vector<ChunkId> news;
  {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    for (const ChunkId& id : missing) {
      TRY_ASSIGN(const auto since, state_.journal->lost_since(*txn, id));
      if (!since) news.push_back(id);
    }
  }
  std::sort(news.begin(), news.end());
  std::vector<Record> records;
  for (size_t at = 0; at < news.size(); at += kIdsOfRecordMax) {
    const size_t end = std::min(news.size(), at + kIdsOfRecordMax);
    Record record;
    record.kind = RecordKind::kGap;
    record.flags = kFlagLost;
    record.note = "a repair could not save " + std::to_string(end - at) +
                  " pieces of contents; what needs them cannot be restored";
    record.note += '\0';
    for (size_t i = at; i < end; ++i) {
      record.note.append(reinterpret_cast<const char*>(news[i].bytes.data()), news[i].bytes.size());
    }
    records.push_back(std::move(record));
  }
  if (records.empty()) return {};
  const std::vector<NewFrame> no_frames;
  return commit(no_frames, records);
}

Result<RefetchResult> Refetch::run() {
  TRY_ASSIGN(ChunkSet missing, missing_now());
  result_.chunks_missing = missing.size();
  // A recipe that is found names chunks that nobody knew to be missing.
  for (int round = 0; round < 4 && !missing.empty(); ++round) {
    const uint64_t before = result_.chunks_refetched;
    TRY(fetch(missing));
    if (result_.chunks_refetched == before) break;
    TRY_ASSIGN(missing, missing_now());
  }
  TRY(name_lost(missing));
  TRY(tell(missing));
  return result_;
}

}  // namespace

Result<RefetchResult> refetch(State& state, const Clock& clock) {
  return Refetch(state, clock).run();
}

Result<std::optional<Sequence>> content_lost_since(const State& state, const LmdbTxn& txn,
                                                   const ContentRef& content) {
  Gaps gaps(state, txn);
  for (const ChunkId& id : gaps.of(content)) {
    TRY_ASSIGN(const auto since, state.journal->lost_since(txn, id));
    if (since) return since;
  }
  return std::optional<Sequence>();
}

}  // namespace holdfast
