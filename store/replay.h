// StoreReplay: one run of Store::replay(). What a damaged place means is decided here, and the rule
// is: a batch that may have been acknowledged is never cut off without an error.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/compaction.h"
#include "store/pack_scan.h"
#include "store/store.h"

namespace holdfast {

class StoreReplay {
 public:
  using OnBatch = std::function<Status(WriteTxn&, std::string_view records)>;
  StoreReplay(Store& store, const OnBatch& on_batch) : store_(store), on_batch_(on_batch) {}
  Result<uint64_t> run();

 private:
  // A journal frame, or the footer of a sealed pack: proof that everything before it was complete
  // once.
  struct Evidence {
    uint64_t offset = 0;
    uint64_t end = 0;
    std::optional<uint64_t> batch_start;  // none for a footer
  };
  struct DataFrame {
    ChunkLocation location;
    std::vector<ChunkInFrame> chunks;
  };
  using Step = PackScan::Found<uint64_t>;  // the offset of the next frame

  Status check_list(const std::vector<uint32_t>& packs) const;
  Status rebuild(const std::vector<uint32_t>& log);
  Status replay_compacted(const PackRange& range);
  Result<bool> header_is_sound(uint32_t pack, uint64_t pack_bytes, Error& damage) const;
  Status replay_pack(uint32_t pack, bool is_last);
  Status walk(PackScan& scan, bool is_last);
  Result<Step> step(PackScan& scan, uint64_t at);
  Result<Step> step_over(PackScan& scan, uint64_t at, const FrameHeader& header,
                         std::string_view bytes);
  Status apply(uint32_t pack, uint64_t end, std::string_view records);
  Status apply_compacted(std::string_view records);
  Status record_sealed(uint32_t pack, uint64_t pack_bytes);
  Status judge_damage(PackScan& scan, uint64_t at, const Error& damage, bool is_last);
  Status judge_rest(PackScan& scan, uint64_t at, const Error& damage, uint64_t from,
                    bool at_boundary);
  Result<std::optional<Evidence>> find_evidence(PackScan& scan, uint64_t from, bool at_boundary);
  Result<std::optional<Evidence>> evidence_at(PackScan& scan, uint64_t at,
                                              const FrameHeader& header);
  bool was_never_acknowledged(const Evidence& evidence) const;
  Status finish_last(uint32_t pack, uint64_t pack_bytes);
  Status load_frames(uint32_t pack, uint64_t end);
  Error damaged_at(uint32_t pack, uint64_t offset, const std::string& why) const;

  Store& store_;
  const OnBatch& on_batch_;
  Position start_;  // of the index, when the replay began
  uint64_t batches_ = 0;
  // Of the pack being walked:
  uint64_t committed_ =
      0;  // the end of its last complete batch; kPackHeaderBytes where it has none
  bool sealed_ = false;
  std::vector<DataFrame> batch_;  // the data frames since
  Decompressor decompressor_;
  uint64_t search_bytes_left_ = 0;
};

}  // namespace holdfast
