// Seeder: `holdfast seed` (docs/seed.md). It reads the image and writes the volume with the rights
// and mounts of its own process, and asks the state through API requests, so that it works the same
// beside a service in another container and without any. One run, one thread that calls it.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "service/api.h"
#include "service/seed_lines.h"
#include "service/seed_manifest.h"
#include "service/seed_walk.h"
#include "service/seed_write.h"

namespace holdfast {

struct SeedOptions {
  std::string source, dest;  // absolute
  std::string name;          // of the root that dest becomes where it is in none; "": of its path
  std::string state_dir;
  SeedPolicy policy = SeedPolicy::kKeep;
  bool force_all = false;
  std::vector<std::string> force, mine;  // relative to dest
  std::vector<std::string> excludes;
  bool dry_run = false, remove = false, respect_deletes = false;
};

// What was done about one path, or would be.
struct SeedDeed {
  SeedAction action = SeedAction::kSame;
  std::string path, why;
  // Of a conflict: what each side has.
  std::optional<SeedValue> volume, image, seeded;
};

struct SeedReport {
  std::string root;
  std::array<uint64_t, kSeedActions> counts{};
  std::vector<SeedDeed> deeds;                              // all but those of kSame
  std::vector<std::pair<std::string, std::string>> failed;  // path, why
  std::vector<std::string> warnings;
  uint64_t bytes = 0;
  std::string undo;
  bool stopped = false;  // conflicts, and the policy is to fail: nothing was touched
  uint64_t count(SeedAction action) const { return counts[static_cast<size_t>(action)]; }
};

class Seeder {
 public:
  using Take = std::function<void(std::string_view)>;
  // As Session::run(): the request, whether the answer is raw bytes, where its lines go.
  using Ask = std::function<Status(const ApiRequest&, bool raw, const Take&)>;

  Seeder(Ask ask, SeedOptions options, std::function<bool()> cancelled)
      : ask_(std::move(ask)), options_(std::move(options)), cancelled_(std::move(cancelled)) {}

  // Called for each deed when it is done, and with what a person should know meanwhile.
  std::function<void(const SeedDeed&)> on_deed;
  std::function<void(const std::string&)> on_note;

  // An error: nothing could be done, or what was begun could not be brought to its end.
  Result<SeedReport> run();

 private:
  struct Plan {
    SeedItem item;
    SeedEntry entry;  // what is remembered of it
    SeedDecision decision;
    bool damaged = false, heal_tried = false;
    bool sound = false;              // it was rewritten since it was damaged
    std::string heal_why;            // the store could not bring it back
    bool unlisted = false;           // it is there, and the journal leaves it out
    std::unique_ptr<SeedLine> line;  // what the journal has of it
    SeedOwner owner;
    bool attrib = false;
    std::string link_to;  // another name of the same file in the image, which comes first
    bool done = false;    // it is as the decision says
  };

  // seeder.cpp: what is to be done
  Status open();
  Status lock();
  Status find_root(bool act);
  Status read_manifest();
  Status make_plans(std::vector<SeedItem> items);
  Status resolve();
  Status read_baseline();
  bool take_baseline(bool last);
  Status read_contents();
  void decide(Plan& plan);
  void decide_blocked(Plan& plan);
  void decide_owner(Plan& plan);
  Status heal_damaged(bool& healed);
  void take_from_image();
  Status settle_plans();
  Plan* find(std::string_view path);
  bool is_kept(const Plan& plan) const;
  void keep_readings();
  bool meant(const std::vector<std::string>& paths, const std::string& path) const;
  void fail(const std::string& path, const Error& error);

  // seeder_act.cpp: doing it
  Status act();
  Status act_on_all();
  Status make_dirs();
  Status write_files();
  Status write_window(std::vector<SeedJob>& jobs);
  Status publish_window(std::vector<SeedJob>& jobs);
  Status make_links();
  void remove_gone();
  void finish_dirs();
  void set_owners();
  void done(Plan& plan);
  void tell(const Plan& plan);
  Status finish();
  Status pin(bool replaces);
  Status put_manifest(bool unfinished);
  SeedEntry entry_of(const Plan& plan) const;
  bool remembers_all() const;
  SeedManifest manifest_of(bool unfinished) const;
  bool writes() const;
  std::string words() const;
  std::string manifest_path() const;

  Result<Json> ask_json(const ApiRequest& request);
  ApiRequest request(const std::string& method, const std::string& path) const;

  const Ask ask_;
  SeedOptions options_;
  const std::function<bool()> cancelled_;
  Fd source_fd_, dest_fd_;
  bool stable_inodes_ = true;
  bool dest_absent_ = false;     // a dry run
  std::string root_, relative_;  // of DEST; "" where it is in no root
  bool flushed_ = false;
  bool damage_ = true;  // some file of the root has an open verdict of damage
  uint64_t seq_ = 0;    // the present before anything was touched
  std::unique_ptr<SeedWalk> walk_;
  std::unique_ptr<SeedWriter> writer_;
  SeedManifest manifest_;
  std::string manifest_bytes_;       // as they are stored
  std::vector<Plan> plans_;          // in byte order of their paths
  std::vector<std::string> accept_;  // healed with what the image has
  SeedReport report_;
};

}  // namespace holdfast
