// Seeding, second half: what was decided is done, journaled and remembered.
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <thread>
#include <tuple>

#include "base/bytes.h"
#include "base/path.h"
#include "service/api_body.h"
#include "service/seed_walk.h"
#include "service/seeder.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr size_t kWindowFiles = 4096;  // that are synced together, and then get their names
constexpr uint64_t kWindowBytes = 256ull << 20;

bool is_dir(const std::optional<SeedStat>& stat) { return stat && stat->type == FileType::kDir; }

// Nothing after this can be written either.
bool ends_it(const Status& status) {
  return !status.ok() &&
         (status.error().code == ErrorCode::kNoSpace || status.error().sys_errno == EROFS);
}

}  // namespace

// Says what was done about a path, or what is as it was.
void Seeder::tell(const Plan& plan) {
  const SeedItem& item = plan.item;
  if (item.failed) return fail(item.path, writer_->explained(item.path, *item.failed));
  SeedDeed deed;
  deed.action = plan.attrib ? SeedAction::kAttrib : plan.decision.action;
  ++report_.counts[static_cast<size_t>(deed.action)];
  if (deed.action == SeedAction::kSame) return;
  deed.path = item.path;
  deed.why = plan.attrib ? "the image has another mode or owner" : plan.decision.why;
  if (deed.action == SeedAction::kConflict) {
    deed.volume = item.volume_value;
    deed.image = item.image_value;
    if (plan.entry.seeded) deed.seeded = plan.entry.seeded->value;
  }
  on_deed(deed);
  if (deed.action != SeedAction::kForget) report_.deeds.push_back(std::move(deed));
}

void Seeder::done(Plan& plan) {
  plan.done = true;
  tell(plan);
}

Status Seeder::act() {
  const bool acts = writes();
  if (manifest_.unfinished) {
    on_note("the last run did not come to its end; finishing it");
    for (const Plan& plan : plans_) {
      if (is_dir(plan.item.volume)) writer_->leftovers(plan.item.path);
    }
    writer_->leftovers("");
  }
  if (!acts) {
    for (Plan& plan : plans_) tell(plan);
    keep_readings();
    return remembers_all() ? Status() : put_manifest(false);
  }
  const bool replaces = std::any_of(plans_.begin(), plans_.end(), [](const Plan& plan) {
    return plan.decision.action == SeedAction::kReplace;
  });
  TRY(pin(replaces));
  TRY(put_manifest(true));
  auto acted = act_on_all();
  TRY(writer_->sync());
  TRY(finish());
  TRY(acted);
  return {};
}

Status Seeder::pin(bool replaces) {
  std::string at = "@" + std::to_string(seq_);
  if (replaces) {
    ApiRequest snapshot;
    snapshot.method = "POST";
    snapshot.path = "/v1/snapshots";
    snapshot.params.emplace_back("message", "before seeding " + options_.dest);
    TRY_ASSIGN(const Json made, ask_json(snapshot));
    at = made.value("name", at);
  }
  report_.undo = "holdfast --state " + shell_quote(options_.state_dir) + " restore " +
                 shell_quote(options_.dest) + " --at " + at + " --in-place --delete";
  return {};
}

Status Seeder::act_on_all() {
  for (Plan& plan : plans_) {
    if (plan.item.failed || !(plan.decision.writes() || plan.attrib)) tell(plan);
  }
  TRY(make_dirs());
  TRY(write_files());
  TRY(make_links());
  set_owners();
  remove_gone();
  finish_dirs();
  return {};
}

Status Seeder::make_dirs() {
  for (Plan& plan : plans_) {
    SeedItem& item = plan.item;
    if (item.failed || !plan.decision.writes() || !is_dir(item.image)) continue;
    if (cancelled_()) return make_error(ErrorCode::kInterrupted, "interrupted");
    auto status = writer_->make_dir(item, plan.owner);
    if (ends_it(status)) return writer_->explained(item.path, status.error());
    if (!status.ok()) {
      item.failed = status.error();
      fail(item.path, writer_->explained(item.path, status.error()));
      continue;
    }
    done(plan);
  }
  return {};
}

// Files, symlinks and the rest; of a file with several names only the first.
Status Seeder::write_files() {
  std::map<std::tuple<uint64_t, int64_t, uint64_t>, std::string> first_names;
  std::vector<SeedJob> jobs;
  uint64_t bytes = 0;
  for (Plan& plan : plans_) {
    const SeedItem& item = plan.item;
    if (!item.image || is_dir(item.image) || item.failed) continue;
    if (item.image->type == FileType::kFile && item.image->nlink > 1) {
      const auto key = std::tuple(item.image->inode, item.image->ctime_ns, item.image->size);
      const bool has_it = plan.decision.writes() || item.image_value == item.volume_value;
      const auto found = first_names.find(key);
      if (found != first_names.end() && plan.decision.writes()) {
        plan.link_to = found->second;
        continue;
      }
      if (has_it) first_names.emplace(key, item.path);
    }
    if (!plan.decision.writes()) continue;
    SeedJob job;
    job.item = &plan.item;
    job.owner = plan.owner;
    jobs.push_back(std::move(job));
    bytes += item.image->size;
    if (jobs.size() < kWindowFiles && bytes < kWindowBytes) continue;
    TRY(write_window(jobs));
    bytes = 0;
  }
  return write_window(jobs);
}

// All of them get a name of their own only when all of them are on the disk.
Status Seeder::write_window(std::vector<SeedJob>& jobs) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  const auto write = [&] {
    for (size_t i = next.fetch_add(1); i < jobs.size(); i = next.fetch_add(1)) {
      if (stop || cancelled_()) {
        jobs[i].status =
            make_error(ErrorCode::kInterrupted, "not written: what came before failed");
        continue;
      }
      writer_->prepare(jobs[i]);
      if (ends_it(jobs[i].status)) stop = true;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(kSeedThreads, jobs.size()); ++i) threads.emplace_back(write);
  write();
  for (std::thread& thread : threads) thread.join();
  auto published = publish_window(jobs);
  if (!published.ok()) {
    for (const SeedJob& job : jobs) writer_->discard(job);
  }
  jobs.clear();
  TRY(published);
  if (cancelled_()) return make_error(ErrorCode::kInterrupted, "interrupted");
  return {};
}

Status Seeder::publish_window(std::vector<SeedJob>& jobs) {
  if (jobs.empty()) return {};
  TRY(writer_->sync());
  ApiRequest own = request("POST", "/v1/seed/own");
  std::string inodes;
  for (const SeedJob& job : jobs) {
    if (job.status.ok()) put_le(inodes, job.inode);
  }
  if (!inodes.empty()) {
    own.body = std::make_shared<TextBody>(std::move(inodes));
    TRY_ASSIGN(const Json known, ask_json(own));
  }
  std::optional<Error> ended;
  for (SeedJob& job : jobs) {
    if (job.status.ok()) writer_->publish(job);
    Plan& plan = *find(job.item->path);
    if (job.status.ok()) {
      report_.bytes += job.bytes;
      if (!job.warning.empty()) {
        report_.warnings.push_back(display_path(job.item->path) + ": " + job.warning);
      }
      done(plan);
      continue;
    }
    const Error told = writer_->explained(job.item->path, job.status.error());
    if (told.sys_errno == EROFS) ended = told;
    fail(job.item->path, told);
    plan.item.failed = job.status.error();
  }
  if (ended) return *ended;
  return {};
}

Status Seeder::make_links() {
  std::vector<SeedJob> jobs;
  for (Plan& plan : plans_) {
    if (plan.link_to.empty()) continue;
    SeedJob job;
    job.item = &plan.item;
    job.owner = plan.owner;
    const Plan& first = *find(plan.link_to);
    const bool there = first.done || first.item.image_value == first.item.volume_value;
    if (there && !first.item.failed) {
      job.link_to = plan.link_to;
      plan.item.image_value = first.item.image_value;
    }
    jobs.push_back(std::move(job));
  }
  return write_window(jobs);
}

void Seeder::set_owners() {
  for (Plan& plan : plans_) {
    if (!plan.attrib || plan.item.failed) continue;
    const auto status = writer_->set_owner(plan.item, plan.owner);
    if (status.ok()) {
      done(plan);
    } else {
      plan.item.failed = status.error();
      fail(plan.item.path, writer_->explained(plan.item.path, status.error()));
    }
  }
}

// Children first: a directory goes when it is empty.
void Seeder::remove_gone() {
  for (auto plan = plans_.rbegin(); plan != plans_.rend(); ++plan) {
    if (plan->decision.action != SeedAction::kRemove || plan->item.failed) continue;
    const auto removed = writer_->remove(plan->item);
    if (!removed.ok()) {
      plan->item.failed = removed.error();
      fail(plan->item.path, writer_->explained(plan->item.path, removed.error()));
      continue;
    }
    if (!*removed) {
      plan->decision = {SeedAction::kOrphan,
                        "the image does not have it any more, and it is not empty"};
    }
    done(*plan);
  }
}

// What is put into a directory moves its times; so those of new ones come last, children first.
void Seeder::finish_dirs() {
  for (auto plan = plans_.rbegin(); plan != plans_.rend(); ++plan) {
    if (!plan->done || !is_dir(plan->item.image) || !plan->decision.writes()) continue;
    const auto status = writer_->finish_dir(plan->item, plan->owner);
    if (!status.ok()) {
      fail(plan->item.path, writer_->explained(plan->item.path, status.error()));
    }
  }
}

std::string Seeder::words() const {
  std::string text;
  for (size_t i = 0; i < kSeedActions; ++i) {
    const auto action = static_cast<SeedAction>(i);
    const bool said = action != SeedAction::kSame && action != SeedAction::kForget;
    if (!said || report_.counts[i] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string(seed_action_name(action)) + " " +
            std::to_string(report_.counts[i]);
  }
  if (!report_.failed.empty()) text += ", failed " + std::to_string(report_.failed.size());
  return text.empty() ? "nothing to do" : text;
}

// The journal has what was done, and the memory too.
Status Seeder::finish() {
  ApiRequest end = request("POST", "/v1/seed/end");
  end.params.emplace_back("note", "from " + display_path(options_.source) + " to " +
                                      display_path(options_.dest) + ": " + words() +
                                      "; undo with: " + report_.undo);
  TRY_ASSIGN(const Json ended, ask_json(end));
  for (const std::string& path : accept_) {
    ApiRequest accept;
    accept.method = "POST";
    accept.path = "/v1/accept";
    accept.params.emplace_back("path", root_ + ":" + join_path(relative_, path));
    if (auto answer = ask_json(accept); !answer.ok()) {
      report_.warnings.push_back("the verdict of " + display_path(path) +
                                 " stays open: " + answer.error().message);
    }
  }
  // What was written is in the journal now, and need not be asked for the next time.
  walk_->look(plans_.size(), [this](size_t i) { return &plans_[i].item; });
  TRY(read_baseline());
  keep_readings();
  return put_manifest(false);
}

// Whether nothing that is remembered has changed: what a start without anything to do ends with.
bool Seeder::remembers_all() const {
  return !manifest_.unfinished && std::all_of(plans_.begin(), plans_.end(), [&](const Plan& plan) {
    const SeedEntry& entry = plan.entry;
    return plan.decision.action == SeedAction::kSame && !plan.item.failed && entry.in_image &&
           plan.item.reading == entry.reading && !plan.line;
  });
}

SeedManifest Seeder::manifest_of(bool unfinished) const {
  SeedManifest manifest;
  manifest.unfinished = unfinished;
  manifest.entries.reserve(plans_.size());
  for (const Plan& plan : plans_) {
    SeedEntry entry = entry_of(plan);
    const bool empty = !entry.in_image && !entry.seeded && entry.earlier.empty();
    if (!empty) manifest.entries.push_back(std::move(entry));
  }
  return manifest;
}

SeedEntry Seeder::entry_of(const Plan& plan) const {
  SeedEntry entry = plan.entry;
  entry.path = plan.item.path;
  const SeedItem& item = plan.item;
  entry.in_image = item.image.has_value();
  entry.reading.reset();
  if (entry.in_image) entry.reading = item.reading;
  // What changes nothing is done when it is decided.
  const bool written = plan.decision.writes();
  const bool answers = plan.decision.answers() && (!written || plan.done);
  if (item.image && item.image_value) {
    const Seeded now{*item.image_value, item.image->mode, item.image->uid, item.image->gid};
    const bool healed = plan.decision.action == SeedAction::kHeal && plan.done;
    if ((answers || healed) && !item.failed) {
      remember_seeded(entry, now);
    } else if (plan.attrib && plan.done) {
      entry.seeded = now;
    } else {
      remember_seen(entry, *item.image_value);
    }
  }
  return entry;
}

Status Seeder::put_manifest(bool unfinished) {
  std::string bytes = encode_seed_manifest(manifest_of(unfinished));
  if (bytes == manifest_bytes_) return {};
  if (root_.empty()) TRY(find_root(true));
  ApiRequest put = request("POST", "/v1/put");
  put.params.emplace_back("path", manifest_path());
  put.params.emplace_back("kind", "seed");
  put.params.emplace_back("note", unfinished ? "a seed begins" : "what was seeded");
  put.body = std::make_shared<TextBody>(bytes);
  TRY_ASSIGN(const Json answer, ask_json(put));
  manifest_bytes_ = std::move(bytes);
  return {};
}

}  // namespace holdfast
