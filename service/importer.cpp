#include "service/importer.h"

#include <memory>

#include "base/path.h"
#include "service/content_writer.h"
#include "service/tar.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr size_t kNamedMax = 1000;
// What is journaled at once. All that fits is one batch, and so there as a whole or not at all.
constexpr size_t kRecordsMax = 10'000;
constexpr size_t kRecordBytesAtOnceMax = 4 * 1024 * 1024;

// The archive's members, and their contents in the store.
class ArchiveReading {
 public:
  ArchiveReading(const ImportOptions& options, ContentWriter& writer, ImportResult& result)
      : options_(options), writer_(writer), result_(result) {}

  Result<ImportTree> run(const ReadBytes& read) {
    auto done = read_all(read);
    if (done.ok()) return std::move(tree_);
    if (done.error().code != ErrorCode::kDamaged) return done.error();
    const std::string where = last_.empty() ? "before its first member"
                                            : "at or behind " + display_path(last_) +
                                                  ", which begins at byte " +
                                                  std::to_string(last_at_) + " of the unpacked tar";
    return make_error(ErrorCode::kDamaged,
                      done.error().message + " (" + where + "); nothing of it is journaled");
  }

 private:
  Status read_all(const ReadBytes& read) {
    UnpackReader unpacked(read);
    const auto source = [&](char* out, size_t size) { return unpacked.read(out, size); };
    TRY_ASSIGN(const auto tar, TarReader::open(source, false));
    for (;;) {
      TRY_ASSIGN(const auto entry, tar->next());
      if (!entry) break;
      last_ = entry->path;
      last_at_ = tar->position();
      TRY(member(*tar, *entry));
    }
    TRY(tar->finish());
    if (!tree_.empty()) return {};
    return make_error(ErrorCode::kDamaged, "the tar holds nothing that could be imported");
  }

  Status member(TarReader& tar, const TarEntry& entry) {
    const auto name = member_name(entry.path, options_.strip);
    if (!name.ok()) return leave_out(entry, name.error());
    if (name->stripped ||
        (name->parts.empty() && entry.type != FileType::kDir && options_.strip > 0)) {
      ++result_.stripped;
      return {};
    }
    if (!entry.hardlink.empty()) {
      const auto other = member_name(entry.hardlink, options_.strip);
      const auto linked = other.ok() ? tree_.add_link(*name, *other) : Status(other.error());
      return linked.ok() ? Status() : leave_out(entry, linked.error());
    }
    if (entry.type == FileType::kSocket) {
      return leave_out(entry, make_error(ErrorCode::kUsage, "its type is not known"));
    }
    WrittenContent written;
    if (entry.type == FileType::kFile) {
      writer_.begin_content(entry.stat.size);
      for (;;) {
        TRY_ASSIGN(const std::string_view bytes, tar.data());
        if (bytes.empty()) break;
        TRY(writer_.write(bytes));
      }
      TRY_ASSIGN(written, writer_.end_content());
      if (written.size != entry.stat.size) {
        return make_error(ErrorCode::kDamaged, "a member has " + words_for_bytes(written.size) +
                                                   ", and was to have " +
                                                   words_for_bytes(entry.stat.size));
      }
    }
    const auto added = tree_.add(*name, entry, written.hash, written.content);
    return added.ok() ? Status() : leave_out(entry, added.error());
  }

  Status leave_out(const TarEntry& entry, const Error& why) {
    if (++result_.left_out <= kNamedMax) result_.named.emplace_back(entry.path, why.message);
    return {};
  }

  const ImportOptions& options_;
  ContentWriter& writer_;
  ImportResult& result_;
  ImportTree tree_;
  std::string last_;
  uint64_t last_at_ = 0;
};

// Hands the records of a plan to the engine, piece by piece.
class Journaling {
 public:
  Journaling(Gate& gate, PutTicket ticket, ImportPlan& plan)
      : gate_(gate), ticket_(ticket), plan_(plan) {}

  Result<Snapshot> run(const std::string& message,
                       const std::vector<std::pair<std::string, std::string>>& tags) {
    TRY_ASSIGN(auto root, plan_.begin());
    const bool is_new = root.has_value();
    if (root) TRY(take(std::move(*root)));
    const auto take_next = [this](Record record) { return take(std::move(record)); };
    TRY(plan_.run(take_next));
    TRY_ASSIGN(auto last, plan_.root_record(kImported, is_new || begun_));
    if (last) held_->push_back(std::move(*last));
    const auto records = held_;
    const PutTicket ticket = ticket_;
    const auto snapshot = std::make_shared<Snapshot>();
    TRY(gate_.with_engine([=](Engine& engine, const Gate::Done& done) {
      auto taken = engine.finish_import(ticket, *records, message, tags);
      if (!taken.ok()) return done(taken.error());
      *snapshot = std::move(*taken);
      done({});
    }));
    return *snapshot;
  }
  bool begun() const { return begun_; }  // something is journaled

 private:
  Status take(Record record) {
    TRY_ASSIGN(const std::string encoded, encode_record(record));  // what could not be is told here
    if (held_->size() >= kRecordsMax || bytes_ + encoded.size() > kRecordBytesAtOnceMax) {
      TRY(hand_over());
    }
    bytes_ += encoded.size();
    held_->push_back(std::move(record));
    return {};
  }

  // From now on a moment may show a part: the root says so until the end.
  Status hand_over() {
    if (!begun_) {
      TRY_ASSIGN(auto mark, plan_.root_record(kImportBegun, true));
      const bool makes_root = !held_->empty() && (held_->front().flags & kFlagRootAdded) != 0;
      held_->insert(held_->begin() + (makes_root ? 1 : 0), std::move(*mark));
    }
    const auto records = std::exchange(held_, std::make_shared<std::vector<Record>>());
    bytes_ = 0;
    const PutTicket ticket = ticket_;
    TRY(gate_.with_engine([=](Engine& engine, const Gate::Done& done) {
      done(engine.journal_import(ticket, *records));
    }));
    begun_ = true;
    return {};
  }

  Gate& gate_;
  const PutTicket ticket_;
  ImportPlan& plan_;
  std::shared_ptr<std::vector<Record>> held_ = std::make_shared<std::vector<Record>>();
  size_t bytes_ = 0;
  bool begun_ = false;
};

}  // namespace

Result<ImportResult> import_tar(State& state, Gate& gate, const Clock& clock,
                                const ImportOptions& options, const ReadBytes& read) {
  const std::string doing = "importing into " + display_path(options.root);
  if (!is_root_name(options.root)) {
    return make_error(ErrorCode::kUsage, doing +
                                             ": the name is made of letters, digits, dots, _ "
                                             "and -");
  }
  auto begun = ContentWriter::begin_import(state, gate, options.root);
  if (!begun.ok()) return begun.error().in(doing);
  ContentWriter& writer = **begun;
  ImportResult result;
  ArchiveReading reading(options, writer, result);
  auto tree = reading.run(read);
  if (!tree.ok()) return tree.error().in(doing);
  if (auto flushed = writer.flush_frames(); !flushed.ok()) return flushed.error().in(doing);
  result.new_bytes = writer.new_bytes();
  TRY_ASSIGN(const auto txn, state.env->begin_read());
  ImportPlan plan(*state.journal, *txn, *tree, options.root, clock.wall_ns());
  Journaling journaling(gate, writer.ticket(), plan);
  auto snapshot = journaling.run(options.message, {{"import", options.root}});
  if (!snapshot.ok()) {
    return snapshot.error().in(doing + (journaling.begun()
                                            ? ": a part is journaled, import it again"
                                            : ": nothing is journaled"));
  }
  result.snapshot = std::move(*snapshot);
  result.counts = plan.counts();
  return result;
}

}  // namespace holdfast
