#include "service/metrics.h"

#include <array>

#include "service/metrics_text.h"

namespace holdfast {

namespace {

double seconds(int64_t ns) { return static_cast<double>(ns) / 1e9; }
uint64_t one_if(bool yes) { return yes ? 1 : 0; }

constexpr std::array<const char*, kTroubles> kTroubleNames{"overflow", "watch",    "unreadable",
                                                           "unstable", "no_space", "write"};
// Those that stay open (docs/verdicts.md).
constexpr std::array<Verdict, 6> kStanding{Verdict::kCorrupt,   Verdict::kCorruptMetadata,
                                           Verdict::kCrashLoss, Verdict::kStealthModify,
                                           Verdict::kReadError, Verdict::kUnstableMedia};

// One family with a sample for each root.
using OfRoot = uint64_t (*)(const RootStatus&);
struct RootFamily {
  const char* name;
  const char* help;
  bool counter;
  OfRoot value;
};

constexpr RootFamily kRootFamilies[] = {
    {"holdfast_root_files", "Files and other objects but directories in the root now.", false,
     [](const RootStatus& root) { return root.files; }},
    {"holdfast_root_bytes", "Sizes of the root's regular files now.", false,
     [](const RootStatus& root) { return root.bytes; }},
    {"holdfast_root_lost", "1 while the root's directory is gone or is not the same.", false,
     [](const RootStatus& root) { return one_if(root.lost); }},
    {"holdfast_root_coverage_full",
     "1 while events tell of all of the root: 0 where it is lost, polled or degraded.", false,
     [](const RootStatus& root) {
       return one_if(!root.lost && root.degraded.empty() && root.unlisted == 0 &&
                     root.backend != "poll" && root.backend != "none");
     }},
    {"holdfast_unreadable_directories", "Directories that cannot be read, or not in full.", false,
     [](const RootStatus& root) { return root.unlisted; }},
    {"holdfast_queue_length", "Names and directories that wait to be looked at.", false,
     [](const RootStatus& root) { return root.queued; }},
    {"holdfast_watches", "Kernel watches: one a directory with inotify, one in all with fanotify.",
     false, [](const RootStatus& root) { return root.watches; }},
    {"holdfast_events_total", "Events and sweeps that the watcher delivered.", true,
     [](const RootStatus& root) { return root.totals.events; }},
    {"holdfast_overflows_total", "Times that events were lost, and the whole root looked at.", true,
     [](const RootStatus& root) { return root.totals.overflows; }},
    {"holdfast_coverage_gaps_total", "Gaps in coverage that were journaled since the start.", true,
     [](const RootStatus& root) { return root.totals.gaps; }},
    {"holdfast_captures_total", "Names that were read into the store.", true,
     [](const RootStatus& root) { return root.totals.captures; }},
    {"holdfast_captured_bytes_total", "Sizes of the regular files that were read.", true,
     [](const RootStatus& root) { return root.totals.captured_bytes; }},
};

void roots(const MetricsInput& input, MetricsText& out) {
  for (const RootFamily& family : kRootFamilies) {
    family.counter ? out.counter(family.name, family.help) : out.gauge(family.name, family.help);
    for (const RootStatus& root : input.engine.roots) {
      out.value(family.value(root), {{"root", root.name}});
    }
  }
  out.gauge("holdfast_lag_seconds", "How long the oldest thing that is due has been waiting.");
  for (const RootStatus& root : input.engine.roots) {
    out.value(seconds(root.lag_ms * 1'000'000), {{"root", root.name}});
  }
  out.gauge("holdfast_up_to_date_timestamp_seconds",
            "What happened in the root before this time is journaled; 0 before the first look.");
  for (const RootStatus& root : input.engine.roots) {
    const auto ago_ns = root.caught_up_ago_ns;
    out.value(ago_ns ? seconds(input.now_ns - *ago_ns) : 0, {{"root", root.name}});
  }
  out.gauge("holdfast_root_free_bytes", "Free bytes of the root's file system.");
  for (const auto& [root, space] : input.root_space) out.value(space.free_bytes, {{"root", root}});
  out.gauge("holdfast_root_size_bytes", "Size of the root's file system.");
  for (const auto& [root, space] : input.root_space) out.value(space.total_bytes, {{"root", root}});
}

void engine(const MetricsInput& input, MetricsText& out) {
  const EngineTotals& totals = input.engine.totals;
  out.counter("holdfast_records_total", "Records that were journaled since the start, by kind.");
  for (size_t kind = 1; kind < kRecordKinds; ++kind) {
    if (kind == static_cast<size_t>(RecordKind::kLink)) continue;  // a create to a reader
    uint64_t count = totals.records[kind];
    if (kind == static_cast<size_t>(RecordKind::kCreate)) {
      count += totals.records[static_cast<size_t>(RecordKind::kLink)];
    }
    out.value(count, {{"kind", record_kind_name(static_cast<RecordKind>(kind))}});
  }
  out.counter("holdfast_errors_total", "What went wrong since the start, by kind.");
  for (size_t i = 0; i < kTroubles; ++i)
    out.value(totals.troubles[i], {{"kind", kTroubleNames[i]}});
  out.counter("holdfast_stored_raw_bytes_total", "New content that was stored, uncompressed.")
      .value(totals.stored_raw_bytes);
  out.counter("holdfast_stored_bytes_total", "The same, as it was written into packs.")
      .value(totals.stored_bytes);
  out.counter("holdfast_deduplicated_bytes_total", "Content that was read and stored already.")
      .value(totals.known_bytes);
  out.histogram("holdfast_flush_duration_seconds", "From asking for a flush to its answer.",
                totals.flush);
  out.histogram("holdfast_capture_duration_seconds", "Reading one name into the store.",
                totals.capture);
  out.gauge("holdfast_work_under_way", "Looks and captures that are not done.")
      .value(input.engine.under_way);
  out.gauge("holdfast_stuck_seconds", "How long workers have had work and finished none of it.")
      .value(seconds(input.engine.stuck_ns));
  out.gauge("holdfast_writing_stopped", "1 while nothing can be written to the state.")
      .value(one_if(input.engine.stalled.has_value()));
  out.gauge("holdfast_store_quota_bytes", "What packs and journal may take; 0: no quota.")
      .value(input.engine.space.quota_bytes);
  out.gauge("holdfast_store_reserve_bytes", "What is left free on the state's disk for others.")
      .value(input.engine.space.reserve_bytes);
  out.gauge("holdfast_keeping_content", "0 while no new content is kept, only the journal goes on.")
      .value(one_if(input.engine.space.is_keeping()));
  out.gauge("holdfast_versions_not_kept", "Versions without their content since keeping stopped.")
      .value(input.engine.space.not_kept);
  out.gauge("holdfast_sequence", "Sequence of the newest record.").value(input.engine.seq.value);
}

void store(const MetricsInput& input, MetricsText& out) {
  out.gauge("holdfast_packs", "Packs in the store.").value(input.store.packs);
  out.gauge("holdfast_packs_bytes", "Size of all packs.").value(input.store.bytes);
  out.gauge("holdfast_chunks", "Chunks in the store.").value(input.store.chunks);
  out.gauge("holdfast_lmdb_map_bytes", "Size of the journal's memory map.")
      .value(input.lmdb_map_bytes);
  out.gauge("holdfast_lmdb_used_bytes", "Used bytes of it.").value(input.lmdb_used_bytes);
  out.gauge("holdfast_state_free_bytes", "Free bytes of the state's file system.");
  if (input.state_space) out.value(input.state_space->free_bytes);
  out.gauge("holdfast_state_size_bytes", "Size of the state's file system.");
  if (input.state_space) out.value(input.state_space->total_bytes);
  out.gauge("holdfast_open_verdicts", "Verdicts that nobody has answered, by verdict.");
  for (const Verdict verdict : kStanding) {
    const auto found = input.verdicts.find(verdict);
    out.value(found == input.verdicts.end() ? uint64_t{0} : found->second,
              {{"verdict", verdict_name(verdict)}});
  }
  out.gauge("holdfast_problems", "Problems that holdfast status --check tells of.")
      .value(input.problems);
}

void jobs(const MetricsInput& input, MetricsText& out) {
  out.gauge("holdfast_scrub_running", "1 while a scrub is under way.")
      .value(one_if(input.scrub.next.value != 0));
  out.gauge("holdfast_scrub_files", "Files of the scrub under way, else of the last one.")
      .value(input.scrub.files);
  out.gauge("holdfast_scrub_bytes", "Bytes of the scrub under way, else of the last one.")
      .value(input.scrub.bytes);
  out.gauge("holdfast_scrub_problems", "Problems that the same scrub found.")
      .value(input.scrub.problems);
  out.gauge("holdfast_scrub_last_finish_timestamp_seconds", "End of the last scrub; 0: none yet.")
      .value(seconds(input.scrub.finished_ns));
  out.gauge("holdfast_snapshots", "Snapshots that there are.").value(input.snapshots);
  out.gauge("holdfast_snapshot_last_timestamp_seconds", "Time of the newest one; 0: none.")
      .value(seconds(input.last_snapshot_ns));
  out.gauge("holdfast_snapshot_last_duration_seconds",
            "How long the last one since the start took.")
      .value(seconds(input.snapshot_took_ns));
  out.gauge("holdfast_dump_last_success_timestamp_seconds", "Last good dump; 0: none yet.");
  for (const DumpState& dump : input.dumps) {
    out.value(dump.good ? seconds(dump.good->time_ns) : 0, {{"dump", dump.name}});
  }
  out.gauge("holdfast_dump_last_duration_seconds", "How long the last try of the dump took.");
  for (const DumpState& dump : input.dumps) {
    out.value(dump.last ? seconds(dump.last->note.took_ns) : 0, {{"dump", dump.name}});
  }
  out.gauge("holdfast_dump_last_good", "1 where the last try of the dump is good.");
  for (const DumpState& dump : input.dumps) {
    out.value(one_if(dump.last && dump.last->note.outcome == DumpOutcome::kOk),
              {{"dump", dump.name}});
  }
  out.gauge("holdfast_prune_last_timestamp_seconds", "Last prune that ended well; 0: none.")
      .value(seconds(input.prune.last_ns));
  out.gauge("holdfast_prune_last_duration_seconds", "How long the last one since the start took.")
      .value(seconds(input.prune.took_ns));
  out.counter("holdfast_prunes_total", "Prunes that ended well.").value(input.prune.runs);
  out.counter("holdfast_prune_freed_bytes_total", "Bytes of packs that prunes deleted.")
      .value(input.prune.freed_bytes);
  out.counter("holdfast_restores_total", "Restores that ran to their end, by kind.")
      .value(input.restores_in_place, {{"kind", "in_place"}})
      .value(input.restores_elsewhere, {{"kind", "elsewhere"}});
  out.counter("holdfast_restored_files_total", "Objects that restores wrote or corrected.")
      .value(input.restored_files);
  out.counter("holdfast_restored_bytes_total", "Content that restores wrote.")
      .value(input.restored_bytes);
  out.counter("holdfast_restore_failures_total", "Objects that could not be restored.")
      .value(input.restore_failures);
}

void alerts(const MetricsInput& input, MetricsText& out) {
  uint64_t pending = 0;
  std::map<std::string, uint64_t> failures{{"command", 0}, {"webhook", 0}};
  for (const AlertSinkStatus& sink : input.alerts.sinks) {
    pending += sink.pending;
    failures[sink.name] += sink.failures;
  }
  out.gauge("holdfast_alerts_standing", "Alerts that were raised and are not over.")
      .value(uint64_t{input.alerts.standing.size()});
  out.gauge("holdfast_alert_notices_pending", "Notices of alerts that could not be sent yet.")
      .value(pending);
  out.counter("holdfast_alert_failures_total", "Tries to send a notice that failed, by sink.");
  for (const auto& [sink, count] : failures) out.value(count, {{"sink", sink}});
}

void process(const MetricsInput& input, MetricsText& out) {
  out.gauge("holdfast_build_info", "1, with the version as a label.")
      .value(uint64_t{1}, {{"version", HOLDFAST_VERSION}});
  out.gauge("holdfast_loop_answers", "1 where the service's loop answered this request in time.")
      .value(one_if(input.answers));
  const ProcessStats stats = input.process.value_or(ProcessStats{});
  out.counter("process_cpu_seconds_total", "User and system CPU time.").value(stats.cpu_seconds);
  out.gauge("process_start_time_seconds", "Start of the process, since 1970.")
      .value(stats.start_seconds);
  out.gauge("process_resident_memory_bytes", "Resident memory, mapped files included.")
      .value(stats.resident_bytes);
  out.gauge("process_virtual_memory_bytes", "Virtual memory.").value(stats.virtual_bytes);
  out.gauge("process_open_fds", "Open file descriptors.").value(stats.open_fds);
  out.gauge("process_max_fds", "As many may be open.").value(stats.max_fds);
}

}  // namespace

std::string render_metrics(const MetricsInput& input) {
  MetricsText out;
  process(input, out);
  if (input.answers) {  // else counters would seem to begin anew
    engine(input, out);
    roots(input, out);
  }
  store(input, out);
  jobs(input, out);
  alerts(input, out);
  return out.take();
}

}  // namespace holdfast
