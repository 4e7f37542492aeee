// Store: contents in packs, and the index from chunk ids to their places.
//
// One thread (the engine's) appends and commits; any thread reads with a ChunkReader of its own.
// The order that makes it crash-safe: data frames, then the batch's journal frame, then sync(),
// then the commit of the WriteTxn that holds the index entries and the position. What stands in a
// pack after the last journal frame is not part of the store and is cut off at the next open.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/hash.h"
#include "base/lmdb.h"
#include "base/result.h"
#include "base/types.h"
#include "store/chunker.h"
#include "store/frame.h"
#include "store/pack_format.h"
#include "store/pack_storage.h"
#include "store/recipe.h"

namespace holdfast {

struct RepositoryInfo {
  uint32_t format = 1;
  std::array<uint8_t, 16> id{};  // random; the first 8 hex digits name the packs
  ChunkKey key{};
  int64_t created_ns = 0;
};

// A place in the packs. Positions order by pack, then offset.
struct Position {
  uint32_t pack = 0;
  uint64_t offset = 0;
  auto operator<=>(const Position&) const = default;
};

// Where a chunk is: the frame, and which of its chunks.
struct ChunkLocation {
  uint32_t pack = 0;
  uint32_t offset = 0;  // of the frame (packs stay below 4 GiB)
  uint32_t frame_bytes = 0;
  uint16_t index = 0;
  auto operator<=>(const ChunkLocation&) const = default;
};

// A pack is sealed at the first batch end beyond the target. A batch stays in one pack, below 4
// GiB.
inline constexpr uint64_t kPackBytesTarget = 48ull * 1024 * 1024;
inline constexpr uint64_t kBatchBytesMax = 3584ull * 1024 * 1024;

// A finished data frame, as a worker hands it to the writer.
struct NewFrame {
  std::string bytes;
  std::vector<ChunkInFrame> chunks;
};

struct StoreStats {
  uint64_t packs = 0, bytes = 0, chunks = 0;
};

// The index's keys and values (docs/formats/pack.md), for those who walk through the tables.
std::string_view chunk_index_key(const ChunkId& id);  // into `id`
std::string encode_location(const ChunkLocation& location);
Result<ChunkLocation> decode_location(std::string_view value);
struct PackEntry {
  uint64_t bytes = 0;  // committed; of a sealed pack all of it
  bool sealed = false;
  bool condemned = false;        // a compacted pack stands for it; its file is about to go
  uint32_t first = 0, last = 0;  // of a compacted pack: the log packs that it stands for
};
std::string pack_index_key(uint32_t pack);
Result<uint32_t> decode_pack_index_key(std::string_view key);
std::string encode_pack_entry(const PackEntry& entry);
Result<PackEntry> decode_pack_entry(std::string_view value);

// What the packs say about their repository, for a rebuild where nothing else is left: from the
// first pack whose header is sound. kNotFound where there is no pack.
Result<RepositoryInfo> read_repository_info(PackStorage& storage);

class Store {
 public:
  // Opens the packs of `storage` with the index tables in `env`. With no pack at all nothing is
  // written until the first append. Does not replay: see replay(). Where there are packs, append()
  // refuses to work before a replay().
  static Result<std::unique_ptr<Store>> open(LmdbEnv& env, std::unique_ptr<PackStorage> storage,
                                             const RepositoryInfo& info);

  // --- writing: the engine's thread ---
  // Appends the frame to the open pack and enters its chunks into the index within `txn`. A chunk
  // that the index has already keeps its old place.
  Status append(WriteTxn& txn, const NewFrame& frame);
  // Appends the journal frame that closes a batch (records may be empty: it still commits the data
  // frames before it), makes all of the batch durable, and writes the new position into `txn`.
  Status close_batch(WriteTxn& txn, std::string_view records);
  // Call after txn.commit(), before the next append: seals and rotates the pack when it is large
  // enough. The batch is committed whatever this returns; after an error the pack is still open,
  // the store goes on, and the next call tries again.
  Status after_commit();
  // After any failure between the first append and a successful commit: cuts the packs back to the
  // last committed position. The WriteTxn must have been aborted. On failure the store refuses
  // further writes.
  Status roll_back();
  // Where packs are sealed, instead of kPackBytesTarget: smaller for tests of what happens then.
  void set_pack_bytes_target(uint64_t bytes) { pack_bytes_target_ = bytes; }
  // The number of the first pack, while there is none: for tests of what happens at the last one.
  void set_first_pack(uint32_t pack) { pack_ = pack; }
  uint64_t batch_bytes() const;  // appended since the last commit

  // --- compaction: the engine's thread, between batches (store/compaction.h) ---
  // Seals the open pack now, where something is committed in it.
  Status seal();
  // Chunks in these packs count as absent from now on: whoever needs one stores it anew. Replaces
  // the set of before; condemned packs always belong to it.
  void set_leaving(const std::vector<uint32_t>& packs);
  Result<uint32_t> new_compacted_pack(const LmdbTxn& txn) const;  // a number that was never used
  // Enters a compacted pack that is complete and durable.
  Status adopt(WriteTxn& txn, uint32_t pack, const PackEntry& entry);
  // Both change an entry that still says `from`, and no other one: a chunk may stand in a pack
  // twice, dead in a frame that was copied as it was, and needed in another.
  struct Move {
    ChunkId id;
    ChunkLocation from, to;
  };
  Status move_chunk(WriteTxn& txn, const Move& move);
  Status drop_chunk(WriteTxn& txn, const ChunkId& id, const ChunkLocation& from);
  Status condemn(WriteTxn& txn, uint32_t pack);
  Status forget_pack(WriteTxn& txn, uint32_t pack);  // its file is gone
  // At start: removes compacted packs that were not finished, or that the index was not moved to.
  // What is kept because the log is not whole without it leaves a line in replay_notes().
  Status remove_unfinished();

  Position end() const;  // where the next frame goes

  // Replays what stands in the packs after the position in the index (everything, where there is
  // none): for each complete batch, index entries are made in a transaction of its own, `on_batch`
  // applies its records to the same transaction. Then cuts off what is after the last complete
  // batch. Returns the number of batches. Damage before the last complete batch is kDamaged, naming
  // the place, and nothing is cut off then; a read error is returned as it is.
  //
  // What is cut off leaves a line in replay_notes(): frames that no journal frame closes, and a
  // batch that was half written when the power went although its journal frame is there (the kernel
  // does not write back in order). The latter only as the very last batch, with an index, and with
  // at most one batch replayed before it: LMDB lags one commit at most, so either that batch was
  // never acknowledged or the disk lost what it had confirmed. In a rebuild it is damage.
  Result<uint64_t> replay(
      const std::function<Status(WriteTxn&, std::string_view records)>& on_batch);
  const std::vector<std::string>& replay_notes() const { return notes_; }  // for the log

  // --- any thread ---
  // False for a chunk that is in a pack about to go.
  bool has(const LmdbTxn& txn, const ChunkId& id) const;
  Result<std::map<uint32_t, PackEntry>> packs(const LmdbTxn& txn) const;
  Result<uint64_t> index_pages(const LmdbTxn& txn) const { return txn.leaf_pages(chunks_); }
  Result<std::optional<ChunkLocation>> locate(const LmdbTxn& txn, const ChunkId& id) const;
  Result<std::string> read_frame(uint32_t pack, uint64_t offset, uint64_t frame_bytes) const;
  Result<StoreStats> stats(const LmdbTxn& txn) const;
  const GearTable& gear() const { return gear_; }
  const RepositoryInfo& info() const { return info_; }
  PackStorage& storage() const { return *storage_; }

  // Whether every pack of the index is there and long enough; cheap. Each finding is one call.
  Status check_presence(const LmdbTxn& txn,
                        const std::function<void(const std::string&)>& finding) const;
  // Verifies packs and index: every pack of the index is there and as long as it was; headers,
  // footers, frame headers in sequence; every index entry leads to its chunk. With `read_data`,
  // every byte: body checksums, decompression, and each chunk's id computed again. Each finding is
  // one call, on the caller's thread and in the order of the packs; `progress` gets bytes done,
  // bytes in all, and says whether to go on; if not, kInterrupted. Workers read the data.
  Status check(const LmdbTxn& txn, bool read_data,
               const std::function<void(const std::string&)>& finding,
               const std::function<bool(uint64_t, uint64_t)>& progress) const;

 private:
  friend class StoreReplay;
  friend class StoreCheck;
  Store() = default;
  Status writable() const;
  Status begin_batch();
  bool is_large_enough() const;
  Status start_pack();
  Status add_frame(FrameType type, std::string_view bytes);
  Status write_pending();
  Status append_in_batch(WriteTxn& txn, const NewFrame& frame);
  Status close_in_batch(WriteTxn& txn, std::string_view records);
  Status index_chunks(WriteTxn& txn, const ChunkLocation& frame,
                      const std::vector<ChunkInFrame>& chunks);
  bool is_leaving(uint32_t pack) const;
  Status load_condemned(const LmdbTxn& txn);
  Status commit_position(WriteTxn& txn, Position position);
  Result<Position> read_position(const LmdbTxn& txn) const;
  Status check_position(const LmdbTxn& txn, Position position) const;
  Status seal_pack();
  Status cut_back_to(Position committed);
  PackHeader header_of(uint32_t pack) const;

  LmdbEnv* env_ = nullptr;
  std::unique_ptr<PackStorage> storage_;
  RepositoryInfo info_;
  GearTable gear_{};
  Dbi chunks_ = 0, packs_ = 0, meta_ = 0;

  mutable std::shared_mutex leaving_mutex_;  // of leaving_
  std::set<uint32_t> leaving_;
  std::atomic<bool> any_leaving_{false};

  // The rest belongs to the engine's thread.
  std::set<uint32_t> condemned_;
  Compressor compressor_{1};  // of journal frames and footers
  uint64_t pack_bytes_target_ = kPackBytesTarget;
  std::vector<std::string> notes_;
  bool replayed_ = false;            // or there is nothing to replay
  std::optional<Error> refusal_;     // why nothing may be written, where that is so
  bool batch_closed_ = false;        // its journal frame is written, its WriteTxn not committed yet
  uint32_t pack_ = 1;                // where the next frame goes
  uint64_t end_ = 0;                 // the end of that pack; 0: not created yet
  uint64_t batch_start_ = 0;         // where the batch's first frame stands
  uint64_t committed_end_ = 0;       // of this pack; 0: nothing in it is committed
  std::string pending_;              // the last bytes before end_, not yet handed to the storage
  std::vector<FrameInPack> frames_;  // of this pack, for its footer
  std::optional<uint32_t> sealed_;   // sealed, and the index does not know it yet
  uint64_t sealed_bytes_ = 0;
};

// Reads chunks and contents. Keeps the last few decompressed frames, because neighbours are read
// together. One thread; the ReadTxn must outlive it.
class ChunkReader {
 public:
  ChunkReader(const Store& store, const LmdbTxn& txn, size_t cached_frames = 8);
  ~ChunkReader();
  // The chunk's bytes; the view is valid until the next call. Checks the frame's checksum. With
  // `verify_id` also the keyed id.
  Result<std::string_view> chunk(const ChunkId& id, bool verify_id = false);
  // The content's parts in order, holes included: `data` gets the bytes of each data part, `hole`
  // the length of each hole. Stops at the first error, its own or the callbacks'.
  Status content(const ContentRef& ref, const std::function<Status(std::string_view)>& data,
                 const std::function<Status(uint64_t)>& hole);
  // The chunks that the content is made of, its recipes included. The visitor says of a recipe
  // whether what it names is of interest, too.
  Status chunks(const ContentRef& ref,
                const std::function<Result<bool>(const ChunkId&, ChunkKind)>& visit);

 private:
  struct Cache;
  Result<std::string_view> find(const ChunkId& id, std::optional<ChunkKind> kind, bool verify_id);
  Result<Recipe> recipe(const ChunkId& id);
  Status data_part(const Part& part, const std::function<Status(std::string_view)>& data);
  const Store& store_;
  const LmdbTxn& txn_;
  std::unique_ptr<Cache> cache_;
};

}  // namespace holdfast
