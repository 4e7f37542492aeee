// ContentWriter: bytes that a program gives become the next version of a path in a virtual root
// (docs/dumps.md), without a file on any disk.
//
//   begin -> write, write, ... -> finish      or destroyed before that: nothing is journaled
//
// Or many contents of one tree, which the engine journals when all of them are there
// (service/importer.h):
//
//   begin_import -> (begin_content -> write, ... -> end_content)... -> flush_frames
//
// Any thread, one at a time, but not the engine's. Cuts, hashes and compresses on that thread, and
// hands finished frames to the engine, which writes them: write() waits for that, so that no more
// than kHandOverBytes of frames, and the bytes that are not cut yet, are ever held. What is in the
// store already is not stored again.
//
// Nothing is journaled before finish(). Chunks of a put that broke off are of no use to anybody and
// go at the next prune; a prune waits for puts that are under way (Engine::after_puts()). When the
// batch with some of the frames is undone (a full disk above all), the put fails: a stream cannot
// be read again.
//
// It takes no claims in PendingChunks: a program may pause for an hour, and captures would wait for
// its chunks. A chunk that two are storing at the same time is stored twice and counted once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "service/content_parts.h"
#include "service/frame_builder.h"
#include "service/gate.h"
#include "service/stored_index.h"
#include "store/chunker.h"

namespace holdfast {

// How a stream is cut of which nobody knows how long it will be: a SQLite database says so in its
// header, anything else is taken for a file of medium size. `head`: kStreamHeadBytes, or all.
inline constexpr size_t kStreamHeadBytes = 64;
ChunkSizes chunk_sizes_of_stream(std::string_view head);

// What was written of a content, and where it is in the store.
struct WrittenContent {
  uint64_t size = 0;
  ContentHash hash;
  ContentRef content;
};

class ContentWriter {
 public:
  static constexpr size_t kHandOverBytes = 4 * 1024 * 1024;

  // `path` is ROOT:relative. See Engine::begin_put() for what is refused.
  static Result<std::unique_ptr<ContentWriter>> begin(State& state, Gate& gate,
                                                      const std::string& path);
  // See Engine::begin_import() for what is refused.
  static Result<std::unique_ptr<ContentWriter>> begin_import(State& state, Gate& gate,
                                                             const std::string& root);
  ~ContentWriter();
  ContentWriter(const ContentWriter&) = delete;
  ContentWriter& operator=(const ContentWriter&) = delete;

  Status write(std::string_view bytes);
  // Journals all that was written; durable on return. `given` says kind, note and rejected.
  Result<Record> finish(GivenContent given);
  // The next content, of so many bytes: it is cut as a file of that size is.
  void begin_content(uint64_t size);
  // Its frames may be held back, to be shared with those of the next.
  Result<WrittenContent> end_content();
  // Hands everything over that is held back: from now on records may refer to it.
  Status flush_frames();
  PutTicket ticket() const { return ticket_; }
  uint64_t size() const { return size_; }
  uint64_t new_bytes() const { return new_bytes_; }  // that were not in the store before
  // The size of the newest good content of the path; nullopt: there is none.
  Result<std::optional<uint64_t>> last_good_size() const;

 private:
  ContentWriter(State& state, Gate& gate, std::string root, std::string path, PutTicket ticket,
                const PendingChunks& pending);
  static Result<std::unique_ptr<ContentWriter>> begin_as(
      State& state, Gate& gate, const std::string& root, const std::string& path,
      const std::function<Result<PutTicket>(Engine&)>& begin);
  void reset();
  Status cut(bool all);
  ChunkId store_chunk(std::string_view bytes, ChunkKind kind);
  Status hand_over();

  State& state_;
  Gate& gate_;
  const std::string root_, path_;
  const PutTicket ticket_;
  const PendingChunks& pending_;
  StoredIndex index_;
  Compressor compressor_;
  FrameBuilder builder_;
  std::optional<ContentHasher> hasher_;
  std::optional<ContentParts> parts_;
  std::optional<uint64_t> expected_;  // how long the content will be, where that is known
  std::optional<Chunker> chunker_;    // once the head is there
  ChunkSizes sizes_;
  std::string held_;  // what is not cut yet
  uint64_t size_ = 0, new_bytes_ = 0;
  // Chunks that this put stored and the index may not know yet, with the count of commits when they
  // were handed over (~0: they were not).
  std::unordered_map<ChunkId, uint64_t, ChunkIdHash> own_;
};

// What may stand before the colon: letters, digits, dots, _ and -.
bool is_root_name(std::string_view name);
// "dumps:db/app" to its root and what is below; kUsage where it is not a path of a virtual root.
Result<std::pair<std::string, std::string>> split_put_path(std::string_view path);

}  // namespace holdfast
