#include "service/content_writer.h"

#include <algorithm>

#include "base/path.h"

namespace holdfast {

namespace {

constexpr uint64_t kNotHandedOver = ~0ull;
constexpr size_t kNameBytesMax = 255;

uint32_t be32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

}  // namespace

bool is_root_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

// The header of SQLite has the page size at 16 (1 means 65536) and the number of pages at 28.
ChunkSizes chunk_sizes_of_stream(std::string_view head) {
  uint64_t bytes = kMediumFileBytesMax;
  constexpr size_t kPageSizeAt = 16, kPagesAt = 28;
  if (head.starts_with("SQLite format 3") && head.size() >= kPagesAt + 4) {
    const uint64_t page = be32(head, kPageSizeAt) >> 16;
    const uint64_t whole = (page == 1 ? 65536 : page) * be32(head, kPagesAt);
    if (whole > kSingleChunkBytesMax) bytes = whole;
  }
  return chunk_sizes_for(bytes, head);
}

Result<std::pair<std::string, std::string>> split_put_path(std::string_view path) {
  const size_t colon = path.find(':');
  const std::string_view root = path.substr(0, std::min(colon, path.size()));
  if (colon == std::string_view::npos || !is_root_name(root)) {
    return make_error(
        ErrorCode::kUsage,
        "a content is given to a path like dumps:app-db, not to \"" + display_path(path) +
            "\"; the name before the colon is made of letters, digits, dots, _ and -");
  }
  TRY_ASSIGN(std::string below, normalize_absolute("/" + std::string(path.substr(colon + 1)), "/"));
  below.erase(0, 1);
  if (below.empty()) {
    return make_error(ErrorCode::kUsage, "\"" + display_path(path) +
                                             "\" names no content; say which, as in " +
                                             std::string(root) + ":app-db");
  }
  for (size_t at = 0; at <= below.size();) {
    const size_t end = std::min(below.find('/', at), below.size());
    if (end - at > kNameBytesMax) {
      return make_error(ErrorCode::kUsage,
                        "a part of the path " + display_path(path) + " is longer than 255 bytes");
    }
    at = end + 1;
  }
  return std::pair(std::string(root), std::move(below));
}

Result<std::unique_ptr<ContentWriter>> ContentWriter::begin(State& state, Gate& gate,
                                                            const std::string& path) {
  TRY_ASSIGN(const auto place, split_put_path(path));
  const auto begin_put = [place](Engine& engine) {
    return engine.begin_put(place.first, place.second);
  };
  auto writer = begin_as(state, gate, place.first, place.second, begin_put);
  if (!writer.ok()) return writer.error().in("writing " + display_path(path));
  return writer;
}

Result<std::unique_ptr<ContentWriter>> ContentWriter::begin_import(State& state, Gate& gate,
                                                                   const std::string& root) {
  const auto begin = [root](Engine& engine) { return engine.begin_import(root); };
  return begin_as(state, gate, root, "", begin);
}

Result<std::unique_ptr<ContentWriter>> ContentWriter::begin_as(
    State& state, Gate& gate, const std::string& root, const std::string& path,
    const std::function<Result<PutTicket>(Engine&)>& begin) {
  struct Begun {
    PutTicket ticket;
    const PendingChunks* pending = nullptr;
  };
  const auto begun = std::make_shared<Begun>();
  TRY(gate.with_engine([begin, begun](Engine& engine, const Gate::Done& done) {
    auto ticket = begin(engine);
    if (!ticket.ok()) return done(ticket.error());
    *begun = {*ticket, &engine.pending_chunks()};
    done({});
  }));
  return std::unique_ptr<ContentWriter>(
      new ContentWriter(state, gate, root, path, begun->ticket, *begun->pending));
}

ContentWriter::ContentWriter(State& state, Gate& gate, std::string root, std::string path,
                             PutTicket ticket, const PendingChunks& pending)
    : state_(state),
      gate_(gate),
      root_(std::move(root)),
      path_(std::move(path)),
      ticket_(ticket),
      pending_(pending),
      index_(*state.env, *state.store, pending),
      compressor_(kCaptureLevel),
      builder_(compressor_) {
  reset();
}

void ContentWriter::reset() {
  size_ = 0;
  expected_.reset();
  chunker_.reset();
  hasher_.emplace();
  parts_.emplace(
      [this](const std::string& block) { return store_chunk(block, ChunkKind::kRecipe); });
}

ContentWriter::~ContentWriter() {
  const PutTicket ticket = ticket_;
  // Where the service is stopping, nobody waits for the end of a put any more.
  (void)gate_
      .with_engine([ticket](Engine& engine, const Gate::Done& done) {
        engine.end_put(ticket);
        done({});
      })
      .ok();
}

Status ContentWriter::write(std::string_view bytes) {
  hasher_->update(bytes);
  size_ += bytes.size();
  while (!bytes.empty()) {  // a large piece is not copied as a whole
    const size_t taken = std::min<size_t>(bytes.size(), kHandOverBytes);
    held_ += bytes.substr(0, taken);
    bytes.remove_prefix(taken);
    TRY(cut(false));
  }
  index_.release();
  return {};
}

// Cuts what is held as far as a cut is certain: a cut depends on sizes_.max bytes behind it, and
// what stays within one chunk is known only at the end.
Status ContentWriter::cut(bool all) {
  if (!all && held_.size() <= kSingleChunkBytesMax) return {};
  if (!chunker_ && size_ > kSingleChunkBytesMax) {
    const std::string_view head = std::string_view(held_).substr(0, kStreamHeadBytes);
    sizes_ = expected_ ? chunk_sizes_for(*expected_, head) : chunk_sizes_of_stream(head);
    chunker_.emplace(state_.store->gear(), sizes_);
  }
  std::string_view rest(held_);
  while (!rest.empty() && (all || rest.size() >= sizes_.max)) {
    const size_t length = chunker_ ? chunker_->next_cut(rest) : rest.size();
    const ChunkId id = store_chunk(rest.substr(0, length), ChunkKind::kData);
    parts_->add({PartKind::kData, length, id});
    rest.remove_prefix(length);
    if (builder_.finished_bytes() >= kHandOverBytes) TRY(hand_over());
  }
  held_.erase(0, held_.size() - rest.size());
  return {};
}

ChunkId ContentWriter::store_chunk(std::string_view bytes, ChunkKind kind) {
  const ChunkId id = chunk_id(state_.store->info().key, bytes);
  if (own_.contains(id) || index_.has(id)) return id;
  own_.emplace(id, kNotHandedOver);
  new_bytes_ += bytes.size();
  builder_.add(id, kind, bytes);
  return id;
}

Status ContentWriter::hand_over() {
  const auto frames = std::make_shared<std::vector<NewFrame>>(builder_.take());
  if (frames->empty()) return {};
  const PutTicket ticket = ticket_;
  const auto commits = std::make_shared<uint64_t>(0);
  const auto put = [ticket, frames, commits](Engine& engine, const Gate::Done& done) {
    *commits = engine.pending_chunks().commits();
    done(engine.put_frames(ticket, *frames));
  };
  index_.release();
  if (auto status = gate_.with_engine(put); !status.ok()) {
    return status.error().in("writing " + display_path(root_ + ":" + path_));
  }
  for (const NewFrame& frame : *frames) {
    for (const ChunkInFrame& chunk : frame.chunks) own_[chunk.id] = *commits;
  }
  // What was handed over before the last commit is in the index by now.
  const uint64_t committed = pending_.commits();
  std::erase_if(own_, [&](const auto& entry) { return entry.second < committed; });
  return {};
}

void ContentWriter::begin_content(uint64_t size) {
  reset();
  expected_ = size;
}

Result<WrittenContent> ContentWriter::end_content() {
  TRY(cut(true));
  WrittenContent written{size_, hasher_->finish(), parts_->finish()};
  if (builder_.finished_bytes() >= kHandOverBytes) TRY(hand_over());
  return written;
}

Status ContentWriter::flush_frames() {
  builder_.finish();
  return hand_over();
}

Result<Record> ContentWriter::finish(GivenContent given) {
  TRY_ASSIGN(const WrittenContent written, end_content());
  given.size = written.size;
  given.hash = written.hash;
  given.content = written.content;
  TRY(flush_frames());
  const PutTicket ticket = ticket_;
  const auto record = std::make_shared<Record>();
  const auto put = [ticket, given, record](Engine& engine, const Gate::Done& done) {
    auto journaled = engine.finish_put(ticket, given);
    if (!journaled.ok()) return done(journaled.error());
    *record = std::move(*journaled);
    done({});
  };
  if (auto status = gate_.with_engine(put); !status.ok()) {
    return status.error().in("writing " + display_path(root_ + ":" + path_));
  }
  return *record;
}

Result<std::optional<uint64_t>> ContentWriter::last_good_size() const {
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
  const auto root = std::find_if(roots.begin(), roots.end(),
                                 [&](const Root& other) { return other.name == root_; });
  if (root == roots.end()) return std::optional<uint64_t>();
  const auto found = state_.journal->locate(*txn, root->node, path_, kLatest);
  if (!found.ok() && found.error().code == ErrorCode::kNotFound) return std::optional<uint64_t>();
  TRY(found);
  TRY_ASSIGN(const auto version, state_.journal->version(*txn, found->node, kLatest));
  return version ? std::optional(version->stat.size) : std::nullopt;
}

}  // namespace holdfast
