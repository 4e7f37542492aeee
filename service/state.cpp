#include "service/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/fs.h"

namespace holdfast {

namespace {

using nlohmann::json;

constexpr uint32_t kFormat = 1;
// Address space, not memory. It grows by itself, but only while nobody reads, so that it is more to
// begin with than a journal will ever be: some three thousand million versions.
constexpr uint64_t kMapBytes = 1ull << 40;
uint64_t map_bytes() {
  const char* text = std::getenv("HOLDFAST_JOURNAL_MAP_BYTES");  // docs/limits.md
  const uint64_t bytes = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return bytes == 0 ? kMapBytes : bytes;
}

// LMDB's mmap and file locks need a local file system (statfs magics from linux/magic.h and 9p's
// own).
Status check_file_system(const std::string& dir) {
  struct statfs st {};
  if (statfs(dir.c_str(), &st) != 0) return errno_error(errno, "looking at " + dir);
  const char* name = nullptr;
  switch (static_cast<unsigned>(st.f_type)) {
    case 0x6969: name = "NFS"; break;
    case 0x01021997: name = "9p"; break;
    case 0x65735546: name = "FUSE"; break;
    case 0xff534d42: name = "CIFS"; break;
    case 0xfe534d42: name = "SMB2"; break;
    default: return {};
  }
  return make_error(ErrorCode::kUnsupported,
                    "the state directory " + dir + " is on " + name +
                        ", where memory maps and locks cannot be relied on; choose a local "
                        "file system with --state");
}

std::string hex_of(const uint8_t* bytes, size_t size) { return to_hex(bytes, size); }

bool from_hex(const std::string& text, uint8_t* out, size_t size) {
  if (text.size() != size * 2) return false;
  for (size_t i = 0; i < size; ++i) {
    const std::string pair = text.substr(i * 2, 2);
    if (pair.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
    out[i] = static_cast<uint8_t>(std::stoul(pair, nullptr, 16));
  }
  return true;
}

Result<RepositoryInfo> read_repository(const std::string& path) {
  TRY_ASSIGN(const std::string text, read_whole_file(path, 64 * 1024));
  const json header = json::parse(text, nullptr, false);
  const Error damaged =
      make_error(ErrorCode::kDamaged, path +
                                          " is damaged; the header of any pack in packs/ has "
                                          "the same id and key (docs/formats/pack.md)");
  if (!header.is_object() || !header.contains("format") || !header["format"].is_number_unsigned()) {
    return damaged;
  }
  RepositoryInfo info;
  info.format = header["format"].get<uint32_t>();
  if (info.format > kFormat) {
    return make_error(ErrorCode::kUnsupported,
                      "the state has format " + std::to_string(info.format) +
                          ", this version of holdfast knows up to " + std::to_string(kFormat) +
                          ": use the newer version that wrote it");
  }
  const bool whole = header.contains("id") && header["id"].is_string() && header.contains("key") &&
                     header["key"].is_string() && header.contains("created_ns") &&
                     header["created_ns"].is_number_integer() &&
                     from_hex(header["id"].get<std::string>(), info.id.data(), info.id.size()) &&
                     from_hex(header["key"].get<std::string>(), info.key.data(), info.key.size());
  if (!whole) return damaged;
  info.created_ns = header["created_ns"].get<int64_t>();
  return info;
}

Result<RepositoryInfo> create_repository(const std::string& path, const Clock& clock) {
  RepositoryInfo info;
  info.format = kFormat;
  info.created_ns = clock.wall_ns();
  random_bytes(info.id.data(), info.id.size());
  random_bytes(info.key.data(), info.key.size());
  json header;
  header["format"] = info.format;
  header["id"] = hex_of(info.id.data(), info.id.size());
  header["key"] = hex_of(info.key.data(), info.key.size());
  header["created_ns"] = info.created_ns;
  header["chunk_id"] = "blake2b-256-keyed";
  header["content_hash"] = "xxh3-128";
  header["chunker"] = "fastcdc-gear64-keyed";
  header["compression"] = "zstd";
  TRY(write_file_durably(path, header.dump(2) + "\n", 0600));
  return info;
}

Result<Fd> take_lock(const std::string& dir) {
  const std::string path = dir + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, "opening the lock " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "locking " + path);
    return make_error(ErrorCode::kBusy, "another holdfast (pid " + lock_holder(dir) +
                                            ") holds the state " + dir +
                                            "; stop it, or choose another state with --state");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0) return errno_error(errno, "writing the lock " + path);
  TRY(pwrite_full(fd.get(), pid, 0));
  return fd;
}

Status recover(State& state) {
  auto replayed = state.store->replay([&](WriteTxn& txn, std::string_view batch) -> Status {
    TRY_ASSIGN(const auto records, split_records(batch));
    if (records.empty()) return {};
    TRY_ASSIGN(const Head before, state.journal->head(txn));
    for (std::string_view bytes : records) TRY(state.journal->replay(txn, bytes));
    TRY_ASSIGN(const Head after, state.journal->head(txn));
    return state.journal->end_batch(txn, Sequence{before.seq.value + 1}, after.seq);
  });
  if (!replayed.ok()) return replayed.error().in("recovering the journal from the packs");
  state.replayed_batches = *replayed;
  return {};
}

}  // namespace

std::string lock_holder(const std::string& state_dir) {
  auto text = read_whole_file(state_dir + "/lock", 64);
  if (!text.ok()) return "";
  return text->substr(0, text->find('\n'));
}

Result<std::unique_ptr<State>> State::open(const std::string& dir, bool create, const Clock& clock,
                                           Log& log) {
  auto state = std::make_unique<State>();
  const std::string header = dir + "/repository";
  struct stat st {};
  const bool there = ::stat(header.c_str(), &st) == 0;
  if (!there && !create) {
    return make_error(
        ErrorCode::kNotFound,
        "there is no state in " + dir + "; start one with: holdfast --state " + dir + " watch DIR");
  }
  TRY(make_directories(dir, 0700));
  char resolved[PATH_MAX];
  if (::realpath(dir.c_str(), resolved) == nullptr) return errno_error(errno, "resolving " + dir);
  state->dir = resolved;
  TRY(check_file_system(state->dir));
  TRY_ASSIGN(state->lock, take_lock(state->dir));
  for (const char* part : {"/journal", "/packs"}) TRY(make_directories(state->dir + part, 0700));
  if (there) {
    TRY_ASSIGN(state->info, read_repository(header));
  } else {
    TRY_ASSIGN(const Fd packs, open_directory(state->dir + "/packs"));
    TRY_ASSIGN(const auto names, list_names(packs.get()));
    if (!names.empty()) {
      return make_error(ErrorCode::kDamaged,
                        header +
                            " is missing, but there are packs; bring it back "
                            "from a copy of the state: the header of every pack holds "
                            "the same id and key (docs/formats/pack.md)");
    }
    TRY_ASSIGN(state->info, create_repository(header, clock));
  }
  TRY_ASSIGN(state->env, LmdbEnv::open(state->dir + "/journal", map_bytes(), 32));
  TRY_ASSIGN(state->journal, Journal::open(*state->env, state->info.key));
  TRY_ASSIGN(auto storage,
             DirectoryPackStorage::open(state->dir + "/packs", hex_of(state->info.id.data(), 4)));
  TRY_ASSIGN(state->store, Store::open(*state->env, std::move(storage), state->info));
  TRY(recover(*state));
  for (const std::string& note : state->store->replay_notes()) log.warn(note);
  if (state->replayed_batches > 0) {
    log.info("recovered " + std::to_string(state->replayed_batches) +
             " batches from the packs that the journal did not have yet");
  }
  return state;
}

}  // namespace holdfast
