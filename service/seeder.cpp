// Seeding, first half: what the image, the volume and the memory have, and what follows from that.
#include "service/seeder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <set>

#include "base/bytes.h"
#include "base/fs_type.h"
#include "base/hash.h"
#include "base/path.h"
#include "service/api_body.h"

namespace holdfast {

namespace {

constexpr int kRoundsMax = 4;  // of files that change while they are looked at
constexpr size_t kRootNameBytesMax = 200;

bool is_file(const std::optional<SeedStat>& stat) { return stat && stat->type == FileType::kFile; }

}  // namespace

void Seeder::fail(const std::string& path, const Error& error) {
  const auto told = [&](const auto& entry) { return entry.first == path; };
  if (std::any_of(report_.failed.begin(), report_.failed.end(), told)) return;
  report_.failed.emplace_back(path, error.message);
}

ApiRequest Seeder::request(const std::string& method, const std::string& path) const {
  ApiRequest request;
  request.method = method;
  request.path = path;
  request.params.emplace_back("cwd", "/");
  if (!root_.empty()) request.params.emplace_back("root", root_);
  return request;
}

// The last line that is not about progress.
Result<Json> Seeder::ask_json(const ApiRequest& request) {
  Json answer;
  TRY(ask_(request, false, [&](std::string_view line) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && !json.contains("progress")) answer = std::move(json);
  }));
  if (answer.is_object() && answer.contains("error")) {
    return make_error(error_code_of_name(answer["code"].get<std::string>()),
                      answer["error"].get<std::string>());
  }
  return answer;
}

Result<SeedReport> Seeder::run() {
  TRY(open());
  if (!options_.dry_run) TRY(lock());
  TRY_ASSIGN(const IgnoreRules excludes, IgnoreRules::parse(options_.excludes));
  auto walking = std::async(std::launch::async, [&] { return walk_->image(excludes, cancelled_); });
  const auto found = find_root(false);
  const auto read = found.ok() ? read_manifest() : Status();
  auto items = walking.get();
  TRY(found);
  TRY(read);
  if (!items.ok()) return items.error();
  TRY(make_plans(std::move(*items)));
  TRY(settle_plans());
  report_.root = root_;
  const bool conflicts = std::any_of(plans_.begin(), plans_.end(), [](const Plan& plan) {
    return plan.decision.action == SeedAction::kConflict;
  });
  report_.stopped = conflicts && options_.policy == SeedPolicy::kFail;
  if (options_.dry_run || report_.stopped) {
    for (Plan& plan : plans_) tell(plan);
    return report_;
  }
  TRY(act());
  return report_;
}

Status Seeder::open() {
  auto source = open_directory(options_.source);
  if (!source.ok()) return source.error().in("seeding from " + display_path(options_.source));
  source_fd_ = std::move(*source);
  auto dest = open_directory(options_.dest);
  if (!dest.ok() && dest.error().sys_errno == ENOENT && !options_.dry_run) {
    TRY(make_directories(options_.dest, 0755));
    dest = open_directory(options_.dest);
  }
  // Where there is nothing yet, it is told what would be done, and nothing is looked up.
  const bool absent = !dest.ok() && dest.error().sys_errno == ENOENT;
  if (absent && options_.dry_run) dest = open_directory("/");
  if (!dest.ok()) return dest.error().in("seeding into " + display_path(options_.dest));
  dest_fd_ = std::move(*dest);
  dest_absent_ = absent && options_.dry_run;
  TRY_ASSIGN(const StatxResult from, statx_fd(source_fd_.get()));
  TRY_ASSIGN(const StatxResult to, statx_fd(dest_fd_.get()));
  const bool same = from.inode == to.inode && from.dev == to.dev;
  if (same || path_below(options_.dest, options_.source) ||
      path_below(options_.source, options_.dest)) {
    return make_error(ErrorCode::kUsage, display_path(options_.source) + " and " +
                                             display_path(options_.dest) +
                                             " lie in each other; a directory cannot be seeded "
                                             "with itself");
  }
  if (path_below(options_.dest, options_.state_dir)) {
    return make_error(ErrorCode::kUsage,
                      "cannot seed into the state directory " + options_.state_dir);
  }
  TRY_ASSIGN(const FsTraits traits, fs_traits_of(dest_fd_.get()));
  stable_inodes_ = traits.stable_inodes;
  walk_ = std::make_unique<SeedWalk>(source_fd_.get(), dest_fd_.get());
  writer_ =
      std::make_unique<SeedWriter>(source_fd_.get(), dest_fd_.get(), options_.dest, stable_inodes_);
  return {};
}

// The directory's own lock: whoever seeds it, in whatever container, has the same one. The kernel
// gives it back however a process ends.
Status Seeder::lock() {
  if (::flock(dest_fd_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno == EWOULDBLOCK) {
    on_note("another seed of " + display_path(options_.dest) + " is running; waiting for its end");
    while (::flock(dest_fd_.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return errno_error(errno, "locking " + display_path(options_.dest));
      if (cancelled_()) return make_error(ErrorCode::kInterrupted, "interrupted");
    }
    return {};
  }
  report_.warnings.push_back(display_path(options_.dest) +
                             " cannot be locked on its file system; make sure that it is not "
                             "seeded twice at once");
  return {};
}

// The directories from DEST up to the top of its file system say which root it is in.
Status Seeder::find_root(bool act) {
  root_.clear();
  if (dest_absent_) return {};
  ApiRequest begin = request("POST", "/v1/seed/begin");
  begin.params.emplace_back("dest", options_.dest);
  if (!options_.name.empty()) begin.params.emplace_back("name", options_.name);
  if (act) begin.params.emplace_back("act", "1");
  TRY_ASSIGN(const StatxResult dest, statx_fd(dest_fd_.get()));
  for (std::string path = options_.dest;;) {
    const auto fd = open_directory(path);
    if (!fd.ok()) break;
    const auto st = statx_fd(fd->get());
    if (!st.ok() || st->mount_id != dest.mount_id) break;
    begin.params.emplace_back(
        "dir", std::to_string(st->inode) + " " + std::to_string(st->btime_ns) + " " + path);
    if (path == "/") break;
    path = std::string(split_last(path).first);
  }
  auto begun = ask_json(begin);
  // There is no state yet, and saying what would be done makes none.
  if (options_.dry_run && !begun.ok() && begun.error().code == ErrorCode::kNotFound) return {};
  if (!begun.ok()) return begun.error();
  const Json& answer = *begun;
  damage_ = answer.value("damage", true);
  if (answer.contains("root") && answer["root"].is_string()) {
    root_ = answer["root"].get<std::string>();
    TRY_ASSIGN(relative_, percent_decode(answer["relative"].get<std::string>()));
  }
  if (act) seq_ = answer["seq"].get<uint64_t>();
  flushed_ = flushed_ || act;
  return {};
}

std::string Seeder::manifest_path() const {
  std::string name = root_;
  if (!relative_.empty()) name += "%2F" + percent_encode(relative_);
  if (name.size() > kRootNameBytesMax) {
    const ContentHash hash = content_hash(name);
    name = name.substr(0, kRootNameBytesMax) + to_hex(hash.bytes.data(), hash.bytes.size());
  }
  return "seeds:" + name;
}

Status Seeder::read_manifest() {
  manifest_ = {};
  manifest_bytes_.clear();
  if (root_.empty()) return {};
  ApiRequest cat = request("GET", "/v1/cat");
  cat.params.emplace_back("path", manifest_path());
  auto read = ask_(cat, true, [&](std::string_view bytes) { manifest_bytes_ += bytes; });
  if (!read.ok() && read.error().code == ErrorCode::kNotFound) return {};
  Result<SeedManifest> manifest = SeedManifest{};
  if (read.ok()) manifest = decode_seed_manifest(manifest_bytes_);
  if (read.ok() && manifest.ok()) {
    manifest_ = std::move(*manifest);
    return {};
  }
  const Error& why = read.ok() ? manifest.error() : read.error();
  if (why.code == ErrorCode::kUnsupported || why.code == ErrorCode::kInterrupted) return why;
  manifest_bytes_.clear();
  report_.warnings.push_back("what was seeded before cannot be read (" + why.message +
                             "): what differs from the image counts as a conflict");
  return {};
}

// What the image has, and what it had before.
Status Seeder::make_plans(std::vector<SeedItem> items) {
  plans_.clear();
  plans_.reserve(items.size());
  auto entry = manifest_.entries.begin();
  const auto take_gone = [&] {
    Plan plan;
    plan.item.path = std::move(entry->path);
    plan.entry = std::move(*entry);
    plan.entry.path = {};
    ++entry;
    plans_.push_back(std::move(plan));
  };
  for (SeedItem& item : items) {
    while (entry != manifest_.entries.end() && entry->path < item.path) take_gone();
    Plan plan;
    if (entry != manifest_.entries.end() && entry->path == item.path) {
      plan.entry = std::move(*entry);
      ++entry;
    }
    plan.entry.path = {};  // the item has it
    plan.item = std::move(item);
    plans_.push_back(std::move(plan));
  }
  while (entry != manifest_.entries.end()) take_gone();
  manifest_.entries.clear();
  return {};
}

Seeder::Plan* Seeder::find(std::string_view path) {
  const auto found = std::lower_bound(
      plans_.begin(), plans_.end(), path,
      [](const Plan& plan, std::string_view wanted) { return plan.item.path < wanted; });
  return found != plans_.end() && found->item.path == path ? &*found : nullptr;
}

// Everything is decided after this, with the present of all that is to be changed in the journal.
Status Seeder::settle_plans() {
  for (int round = 0;; ++round) {
    if (cancelled_()) return make_error(ErrorCode::kInterrupted, "interrupted");
    const bool last = round == kRoundsMax;
    if (!dest_absent_) walk_->look(plans_.size(), [this](size_t i) { return &plans_[i].item; });
    TRY(read_baseline());
    const bool stale = take_baseline(last);
    if (stale && !options_.dry_run && !last) {
      TRY(find_root(true));
      continue;
    }
    TRY(read_contents());
    for (Plan& plan : plans_) decide(plan);
    for (Plan& plan : plans_) decide_blocked(plan);
    if (options_.dry_run) return {};
    if (writes() && !flushed_) {
      const bool known = !root_.empty();
      TRY(find_root(true));
      if (!known) TRY(read_manifest());  // there is none, but of a root that was known before
      continue;
    }
    bool healed = false;
    TRY(heal_damaged(healed));
    if (healed) continue;
    take_from_image();
    return {};
  }
}

// Whether the volume's file is the one that the journal had, and is not damaged, without asking.
bool Seeder::is_kept(const Plan& plan) const {
  const auto& kept = plan.entry.kept;
  if (!kept || damage_ || flushed_) return false;
  SeedStat then;
  then.size = kept->size;
  then.mtime_ns = kept->mtime_ns;
  then.ctime_ns = kept->ctime_ns;
  then.inode = kept->inode;
  return same_seed_file(*plan.item.volume, then, stable_inodes_);
}

// What the journal has of the volume's files now is not asked for the next time.
void Seeder::keep_readings() {
  for (Plan& plan : plans_) {
    if (is_file(plan.item.volume) && is_kept(plan)) continue;
    plan.entry.kept.reset();
    const auto& line = plan.line;
    const bool fits = is_file(plan.item.volume) && line && line->value && !line->damaged &&
                      !line->doubtful &&
                      same_seed_file(*plan.item.volume, line->stat, stable_inodes_);
    if (!fits) continue;
    const SeedStat& stat = line->stat;
    plan.entry.kept =
        SeedReading{stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, line->value->hash};
  }
}

Status Seeder::read_baseline() {
  for (Plan& plan : plans_) plan.line.reset();
  if (root_.empty()) return {};
  std::string dirs;
  std::set<std::string_view> wanted;
  for (const Plan& plan : plans_) {
    if (is_file(plan.item.volume) && !is_kept(plan)) {
      wanted.insert(split_last(plan.item.path).first);
    }
  }
  if (wanted.empty()) return {};
  for (const std::string_view dir : wanted) dirs += percent_encode(dir) + "\n";
  ApiRequest baseline = request("POST", "/v1/seed/baseline");
  baseline.params.emplace_back("path", relative_);
  baseline.body = std::make_shared<TextBody>(std::move(dirs));
  std::string dir;
  Status bad;
  TRY(ask_(baseline, false, [&](std::string_view text) {
    if (text.starts_with("{")) {
      const Json json = Json::parse(text, nullptr, false);
      if (json.is_object() && json.contains("error")) {
        bad = make_error(error_code_of_name(json["code"].get<std::string>()),
                         json["error"].get<std::string>());
      }
      return;
    }
    auto line = read_seed_line(text, dir);
    if (!line.ok()) bad = line.error();
    if (!line.ok() || !*line) return;
    Plan* plan = find(join_path(dir, (*line)->name));
    if (plan != nullptr) plan->line = std::make_unique<SeedLine>(std::move(**line));
  }));
  return bad;
}

// Gives the volume's files the contents that the journal knows. True: it has to look again first.
bool Seeder::take_baseline(bool last) {
  bool stale = false;
  for (Plan& plan : plans_) {
    SeedItem& item = plan.item;
    plan.damaged = plan.unlisted = false;
    if (!is_file(item.volume)) continue;
    if (is_kept(plan)) {
      item.volume_value = SeedValue{FileType::kFile, plan.entry.kept->hash};
      continue;
    }
    const auto& line = plan.line;
    if (!line && flushed_) plan.unlisted = true;
    if (plan.unlisted) continue;
    const bool fits =
        line && line->value && same_seed_file(*item.volume, line->stat, stable_inodes_);
    if (!fits || (line->doubtful && !flushed_)) {
      stale = true;
      if (!last || options_.dry_run) continue;
      item.failed = make_error(ErrorCode::kBusy, "it keeps changing; it is left alone");
      continue;
    }
    plan.damaged = line->damaged && !plan.sound;
    item.volume_value = line->value;
  }
  return stale;
}

// Reads what nobody has read yet, of the image and of what the journal does not have.
Status Seeder::read_contents() {
  std::vector<SeedItem*> of_image, of_volume;
  for (Plan& plan : plans_) {
    SeedItem& item = plan.item;
    if (item.failed) continue;
    if (is_file(item.volume) && !item.volume_value) of_volume.push_back(&item);
    if (!is_file(item.image) || item.image_value) continue;
    const auto& reading = plan.entry.reading;
    if (reading && reading->size == item.image->size && reading->mtime_ns == item.image->mtime_ns &&
        reading->ctime_ns == item.image->ctime_ns && reading->inode == item.image->inode) {
      item.image_value = SeedValue{FileType::kFile, reading->hash};
      item.reading = reading;
    } else {
      // Before it is copied, too: a run that is killed in between has to leave behind what it put
      // there, or the next one, of another image, would take that for a person's.
      of_image.push_back(&item);
    }
  }
  walk_->read_image(of_image, cancelled_);
  walk_->read_volume(of_volume, cancelled_);
  if (cancelled_()) return make_error(ErrorCode::kInterrupted, "interrupted");
  return {};
}

bool Seeder::meant(const std::vector<std::string>& paths, const std::string& path) const {
  return std::any_of(paths.begin(), paths.end(), [&](const std::string& one) {
    return one.empty() || path == one || path.starts_with(one + "/");
  });
}

void Seeder::decide(Plan& plan) {
  SeedItem& item = plan.item;
  plan.decision = {};
  plan.attrib = false;
  if (item.failed) return;
  SeedState state;
  state.volume = item.volume_value;
  if (item.image) {
    // What is to be written anyway is read when it is written.
    state.image = item.image_value ? *item.image_value : SeedValue{item.image->type, {}};
  }
  if (plan.entry.seeded) state.seeded = plan.entry.seeded->value;
  state.earlier = plan.entry.earlier;
  state.damaged = plan.damaged;
  state.policy = options_.policy;
  state.force = options_.force_all || meant(options_.force, item.path);
  state.mine = meant(options_.mine, item.path);
  state.remove = options_.remove;
  state.respect_deletes = options_.respect_deletes;
  plan.decision = decide_seed(state);
  const bool edits = plan.decision.action == SeedAction::kReplace;
  if (plan.unlisted && edits) {
    plan.decision = {SeedAction::kConflict,
                     "the journal leaves it out, so that replacing it could not be undone"};
  }
  decide_owner(plan);
}

// The nearest thing above that is in the way says what becomes of what is below it.
void Seeder::decide_blocked(Plan& plan) {
  if (!plan.item.blocked) return;
  std::string_view above = split_last(plan.item.path).first;
  for (; !above.empty(); above = split_last(above).first) {
    const Plan* parent = find(above);
    if (parent == nullptr || parent->item.blocked || !parent->item.volume) continue;
    if (parent->decision.action == SeedAction::kReplace) return;  // it makes way
    break;
  }
  if (!plan.item.image) {
    plan.decision = {SeedAction::kForget, "neither the image nor the volume has it"};
    return;
  }
  plan.decision = {SeedAction::kConflict, "what is above it in the volume is no directory"};
}

// Mode and owner have a lineage of their own: what somebody changed since it was seeded stays.
void Seeder::decide_owner(Plan& plan) {
  const SeedItem& item = plan.item;
  if (!item.image) return;
  plan.owner = {item.image->mode, item.image->uid, item.image->gid};
  if (!item.volume || !plan.entry.seeded || item.volume->type != item.image->type) return;
  const Seeded& seeded = *plan.entry.seeded;
  const bool forced = plan.decision.action == SeedAction::kReplace;
  const SeedStat& live = *item.volume;
  if (!forced && live.mode != seeded.mode) plan.owner.mode = live.mode;
  if (!forced && (live.uid != seeded.uid || live.gid != seeded.gid)) {
    plan.owner.uid = live.uid;
    plan.owner.gid = live.gid;
  }
  const bool link = item.image->type == FileType::kSymlink;
  plan.attrib = plan.decision.action == SeedAction::kSame &&
                ((!link && plan.owner.mode != live.mode) ||
                 (::geteuid() == 0 && (plan.owner.uid != live.uid || plan.owner.gid != live.gid)));
}

bool Seeder::writes() const {
  return std::any_of(plans_.begin(), plans_.end(),
                     [](const Plan& plan) { return plan.decision.writes() || plan.attrib; });
}

// What is still damaged gets what the image has.
void Seeder::take_from_image() {
  for (Plan& plan : plans_) {
    if (plan.decision.action != SeedAction::kHeal) continue;
    const std::string why = plan.heal_why.empty() ? "the store has no good one" : plan.heal_why;
    if (is_file(plan.item.image)) {
      plan.decision.why =
          "its content was damaged and the store could not help; the image's is put";
      report_.warnings.push_back(display_path(plan.item.path) +
                                 " was damaged and could not be brought back (" + why +
                                 "): it has the image's content now");
      accept_.push_back(plan.item.path);
    } else {
      plan.item.failed = make_error(ErrorCode::kDamaged,
                                    "it is damaged, and the image does not have "
                                    "it either: " +
                                        why);
    }
  }
}

// What the store can bring back comes back; for the rest there is what the image has.
Status Seeder::heal_damaged(bool& healed) {
  std::vector<Plan*> damaged;
  for (Plan& plan : plans_) {
    if (plan.decision.action == SeedAction::kHeal && !plan.heal_tried) damaged.push_back(&plan);
  }
  if (damaged.empty()) return {};
  ApiRequest heal;
  heal.method = "POST";
  heal.path = "/v1/verify";
  heal.params.emplace_back("heal", "1");
  for (Plan* plan : damaged) {
    plan->heal_tried = true;
    heal.params.emplace_back("path", root_ + ":" + join_path(relative_, plan->item.path));
  }
  TRY_ASSIGN(const Json answer, ask_json(heal));
  std::map<std::string, std::string> why;
  for (const Json& one : answer.value("healed", Json::array())) {
    const std::string path = one.value("path", std::string());
    why[path] = one.value("healed", false) ? "" : one.value("why", std::string("it failed"));
  }
  for (Plan* plan : damaged) {
    const auto found = why.find(join_path(relative_, plan->item.path));
    if (found != why.end() && found->second.empty()) {
      plan->decision.why = "its content was damaged; the last good version is back";
      plan->done = true;
      tell(*plan);
      plan->done = false;
      continue;
    }
    SeedStat stat;
    const auto live = hash_beneath(dest_fd_.get(), plan->item.path, stat);
    plan->sound = live.ok() && plan->line && plan->line->value &&
                  plan->line->value->hash == *live;  // it was rewritten since
    if (found != why.end()) plan->heal_why = found->second;
  }
  healed = true;
  return {};
}

}  // namespace holdfast
