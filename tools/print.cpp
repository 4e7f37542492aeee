#include "tools/print.h"

#include <cstdio>

#include "base/path.h"
#include "service/words.h"

namespace holdfast {

namespace {

std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}
uint64_t number_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<uint64_t>() : 0;
}

std::string counted(uint64_t number, const char* what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

// "2026-11-20T14:03:07.500000000Z" to "2026-11-20 14:03:07Z".
std::string short_time(const std::string& time) {
  if (time.size() < 20) return time;
  return time.substr(0, 10) + " " + time.substr(11, 8) + "Z";
}

std::string place_of(const Json& json) {
  return text_of(json, "root") + ":" + display_path(text_of(json, "path"));
}

std::string details(const Json& record) {
  std::string text;
  if (text_of(record, "type") == "file" && text_of(record, "kind") != "delete") {
    text += "  " + words_for_bytes(number_of(record, "size"));
  }
  if (record.contains("from")) text += "  from " + display_path(text_of(record, "from"));
  // What is plain from the kind is not said again.
  const std::string verdict = text_of(record, "verdict");
  const bool plain =
      verdict == "attr_only" || (verdict == "modified" && text_of(record, "kind") == "modify");
  if (verdict != "none" && !verdict.empty() && !plain) text += "  " + text_of(record, "verdict");
  const auto flags = record.find("flags");
  if (flags != record.end()) {
    for (const auto& flag : *flags) {
      if (flag != "mtime_set") text += "  [" + flag.get<std::string>() + "]";
    }
  }
  if (!text_of(record, "note").empty()) text += "  " + display_path(text_of(record, "note"));
  return text;
}

std::string print_inbox(const Json& inbox) {
  std::string text = "inbox      " + display_path(text_of(inbox, "path")) + ", " +
                     std::to_string(number_of(inbox, "waiting")) + " waiting";
  if (inbox["working"].is_string()) {
    text += ", " + display_path(text_of(inbox, "working")) + " at work (" +
            text_of(inbox, "phase") + ")";
  }
  if (inbox["last"].is_object()) {
    const Json& last = inbox["last"];
    text += "\n           last: " + display_path(text_of(last, "name")) + " " +
            text_of(last, "outcome") + " " + short_time(text_of(last, "ended"));
  }
  return text + "\n";
}

// Without a service nothing keeps to a limit.
std::string print_limits(const Json& store) {
  const uint64_t quota = number_of(store, "quota_bytes"),
                 reserve = number_of(store, "reserve_bytes");
  std::string text;
  if (quota + reserve > 0) {
    text += "           " + (quota == 0 ? "no quota" : "quota " + words_for_bytes(quota)) +
            ", reserve " + words_for_bytes(reserve) + "\n";
  }
  if (store.value("not_kept_since", Json()).is_string()) {
    text += "           CONTENT NOT KEPT since " + short_time(text_of(store, "not_kept_since")) +
            ": " + counted(number_of(store, "not_kept"), "version") +
            (store["keeping"].get<bool>() ? ", being captured now\n" : "\n");
  }
  return text;
}

std::string print_alerts(const Json& alerts) {
  std::string text = "alerts     " + std::to_string(alerts["standing"].size()) + " standing";
  for (const Json& sink : alerts["sinks"]) {
    text += ", " + text_of(sink, "name");
    const uint64_t pending = number_of(sink, "pending");
    if (pending > 0) text += " with " + counted(pending, "notice") + " to send";
    if (sink["why"].is_string()) text += " (" + display_path(text_of(sink, "why")) + ")";
  }
  return text + "\n";
}

}  // namespace

std::string print_record(const Json& record) {
  char head[96];
  std::snprintf(head, sizeof head, "@%-7llu %s  %-8s ",
                static_cast<unsigned long long>(number_of(record, "seq")),
                short_time(text_of(record, "time")).c_str(), text_of(record, "kind").c_str());
  const std::string slash = text_of(record, "type") == "dir" ? "/" : "";
  const std::string place =
      record.contains("path") ? place_of(record) + slash : text_of(record, "root");
  return head + place + details(record) + "\n";
}

std::string print_entry(const Json& record) {
  static constexpr const char* kTypes[][2] = {{"dir", "d"},    {"symlink", "l"}, {"fifo", "p"},
                                              {"socket", "s"}, {"char", "c"},    {"block", "b"}};
  std::string type = "-";
  for (const auto& known : kTypes) {
    if (text_of(record, "type") == known[0]) type = known[1];
  }
  char head[128];
  std::snprintf(head, sizeof head, "%s%s %5llu %5llu %10s  @%-7llu ", type.c_str(),
                text_of(record, "mode").c_str(),
                static_cast<unsigned long long>(number_of(record, "uid")),
                static_cast<unsigned long long>(number_of(record, "gid")),
                words_for_bytes(number_of(record, "size")).c_str(),
                static_cast<unsigned long long>(number_of(record, "seq")));
  std::string line = head + place_of(record);
  if (type == "d") line += "/";
  if (record.contains("target")) line += " -> " + display_path(text_of(record, "target"));
  const auto stored = record.find("stored");
  if (stored != record.end() && !stored->get<bool>()) line += "  (content not stored)";
  return line + "\n";
}

std::string print_diff(const Json& difference) {
  const std::string change = text_of(difference, "change");
  const char* mark = change == "added"     ? "+"
                     : change == "removed" ? "-"
                     : change == "renamed" ? "R"
                     : change == "attrib"  ? "a"
                                           : "M";
  const std::string slash = text_of(difference, "type") == "dir" ? "/" : "";
  std::string line = std::string(mark) + " " + place_of(difference) + slash;
  if (difference.contains("from")) {
    line += "  from " + display_path(text_of(difference, "from")) + slash;
  }
  if (difference.contains("also")) line += "  " + text_of(difference, "also");
  return line + "\n";
}

std::string print_dump_state(const Json& dump) {
  const Json& good = dump["last_good"];
  std::string text = "dump       " + text_of(dump, "name") + ", ";
  text += good.is_null() ? "no good one yet"
                         : "last good one @" + std::to_string(number_of(good, "seq")) + " of " +
                               short_time(text_of(good, "time")) + ", " +
                               words_for_bytes(number_of(good, "size"));
  if (!dump["last"].is_null() && text_of(dump["last"], "outcome") != "ok") {
    text += ", last try @" + std::to_string(number_of(dump["last"], "seq")) + " " +
            text_of(dump["last"], "outcome");
  }
  return text + "\n";
}

std::string print_status(const Json& status) {
  std::string text = "holdfast " + text_of(status, "version") + ", state " +
                     display_path(text_of(status, "state")) + "\n";
  text += "journal    @" + std::to_string(number_of(status, "seq"));
  if (!text_of(status, "last_record").empty()) {
    text += ", last record " + short_time(text_of(status, "last_record"));
  }
  text += "\n";
  for (const Json& root : status["roots"]) {
    if (text_of(root, "coverage") == "virtual") {
      text += "root       " + text_of(root, "name") + ": given by programs, " +
              counted(number_of(root, "files"), "file") + ", " +
              words_for_bytes(number_of(root, "bytes")) + "\n";
      continue;
    }
    text +=
        "root       " + text_of(root, "name") + " = " + display_path(text_of(root, "path")) + "\n";
    text += "           backend " + text_of(root, "backend") + ", coverage " +
            text_of(root, "coverage") + ", " + counted(number_of(root, "files"), "file") + ", " +
            words_for_bytes(number_of(root, "bytes")) + "\n";
  }
  for (const Json& dump : status.value("dumps", Json::array())) text += print_dump_state(dump);
  const Json& store = status["store"];
  text += "store      " + words_for_bytes(number_of(store, "bytes")) + " in " +
          counted(number_of(store, "packs"), "pack") + ", journal " +
          words_for_bytes(number_of(store, "journal_bytes")) + ", " +
          words_for_bytes(number_of(store, "free_bytes")) + " free on its disk\n" +
          print_limits(store);
  const Json& scrub = status["scrub"];
  if (scrub["running"].get<bool>()) {
    text += "scrub      under way since " + short_time(text_of(scrub, "started")) + ", " +
            counted(number_of(scrub, "files"), "file") + ", " +
            words_for_bytes(number_of(scrub, "bytes")) + " so far\n";
  } else if (scrub["started"].is_string()) {
    text += "scrub      last finished " + short_time(text_of(scrub, "finished")) + ", " +
            counted(number_of(scrub, "files"), "file") + ", " +
            counted(number_of(scrub, "problems"), "problem") + "\n";
  }
  for (const Json& inbox : status.value("inboxes", Json::array())) text += print_inbox(inbox);
  if (status.contains("offline")) {
    const bool finished = status["offline"]["finished"].get<bool>();
    text += "start      " + text_of(status["offline"], "words") +
            (finished ? "\n" : " so far; not all is looked through yet\n");
  }
  for (const Json& skew : status.value("clock", Json::object()).value("skews", Json::array())) {
    const double seconds = static_cast<double>(skew["amount_ns"].get<int64_t>()) / 1e9;
    char amount[32];
    std::snprintf(amount, sizeof amount, "%+.1f s", seconds);
    text += std::string("clock      ") + amount + " in what stamps " +
            (text_of(skew, "root").empty() ? "the state's file system"
                                           : "the files of " + text_of(skew, "root")) +
            "\n";
  }
  if (status.contains("alerts") && status["alerts"].is_object()) {
    text += print_alerts(status["alerts"]);
  }
  if (status["healthy"].get<bool>()) return text + "healthy\n";
  for (const Json& problem : status["problems"]) {
    text += "PROBLEM    " + display_path(problem.get<std::string>()) + "\n";
  }
  return text;
}

std::string print_check_health(const Json& status) {
  if (status["healthy"].get<bool>()) {
    return "healthy, at @" + std::to_string(number_of(status, "seq")) + "\n";
  }
  std::string text;
  for (const Json& finding : status["findings"]) {
    std::string line = text_of(finding, "root");
    if (!line.empty()) line += ": ";
    line += text_of(finding, "what");
    if (!text_of(finding, "value").empty()) line += ": " + text_of(finding, "value");
    if (!text_of(finding, "bound").empty()) line += ", " + text_of(finding, "bound");
    if (!text_of(finding, "fix").empty()) line += "; " + text_of(finding, "fix");
    text += text_of(finding, "check") + ": " + display_path(line) + "\n";
  }
  return text;
}

std::string print_snapshot(const Json& snapshot) {
  std::string text = text_of(snapshot, "name") + "  @" +
                     std::to_string(number_of(snapshot, "seq")) + "  " +
                     short_time(text_of(snapshot, "time"));
  for (const auto& [key, value] : snapshot["tags"].items()) {
    text += "  " + display_path(key + "=" + value.get<std::string>());
  }
  if (!text_of(snapshot, "message").empty())
    text += "  " + display_path(text_of(snapshot, "message"));
  return text + "\n";
}

std::string print_restore(const Json& result) {
  const bool dry = result["dry_run"].get<bool>();
  std::string text =
      std::string(dry ? "would restore" : "restored") + " @" +
      std::to_string(number_of(result["at"], "seq")) + " (" +
      short_time(text_of(result["at"], "time")) +
      "): " + std::to_string(number_of(result, "files")) + " looked at, " +
      std::to_string(number_of(result, "changed")) + (dry ? " would change, " : " changed, ") +
      words_for_bytes(number_of(result, "bytes")) + (dry ? "" : " written and verified") + ", " +
      std::to_string(number_of(result, "deleted")) + (dry ? " would be deleted\n" : " deleted\n");
  for (const Json& failure : result["failed"]) {
    text += "FAILED " + display_path(text_of(failure, "path")) + ": " +
            display_path(text_of(failure, "why")) + "\n";
  }
  for (const Json& warning : result["warnings"]) {
    text += "note: " + display_path(warning.get<std::string>()) + "\n";
  }
  if (result["undo"].is_string()) text += "undo with: " + text_of(result, "undo") + "\n";
  return text;
}

std::string print_check(const Json& result) {
  std::string text = "checked " + counted(number_of(result, "records"), "record") + ", " +
                     counted(number_of(result, "chunks"), "chunk") + ", " +
                     counted(number_of(result, "packs"), "pack") +
                     (result["read_data"].get<bool>() ? ", every byte of " : ", structure of ") +
                     words_for_bytes(number_of(result, "bytes")) + "\n";
  for (const Json& finding : result["findings"]) {
    text += "FOUND " + display_path(finding.get<std::string>()) + "\n";
  }
  return text + (result["clean"].get<bool>() ? "clean\n" : "");
}

std::string print_prune(const Json& result) {
  const Json& kept = result["kept"];
  const bool dry = result["dry_run"].get<bool>();
  const auto bytes = [&](const char* key) { return words_for_bytes(number_of(result, key)); };
  std::string text = "kept: everything from @" + std::to_string(number_of(kept, "since")) +
                     " on, " + counted(kept["moments"].size(), "moment") +
                     " before that, and of each file that is there its newest " +
                     std::to_string(number_of(kept, "last")) + "\n";
  text += bytes("dead_bytes") + " of " + bytes("bytes_before") + " are not needed any more\n";
  const uint64_t packs = number_of(result, "packs_rewritten");
  if (packs == 0) return text + "no pack is worth rewriting for that\n";
  text += (dry ? "would rewrite " : "rewrote ") + counted(packs, "pack") + " of " +
          bytes("bytes_rewritten") + (dry ? " as about " : " as ") +
          std::to_string(number_of(result, "packs_written")) + " of " + bytes("bytes_written") +
          "\n";
  if (dry) return text;
  text += bytes("bytes_freed") + " freed";
  if (number_of(result, "bytes_waiting") > 0) {
    text += ", " + bytes("bytes_waiting") + " follow when nobody reads them any more";
  }
  return text + "\n";
}

std::string print_verify(const Json& result) {
  std::string text = "verified " + counted(number_of(result, "files"), "name") + ", " +
                     words_for_bytes(number_of(result, "bytes")) + " read, against @" +
                     std::to_string(number_of(result["at"], "seq")) + "\n";
  for (const Json& finding : result["findings"]) {
    const std::string loss = text_of(finding, "loss"), verdict = text_of(finding, "verdict");
    text += finding["problem"].get<bool>() ? "PROBLEM  " : "note     ";
    text += place_of(finding) + ": " + (loss.empty() ? verdict : loss);
    if (!loss.empty() && verdict != "none" && verdict != loss) text += ", " + verdict;
    if (finding["seq"].is_number()) text += " (@" + finding["seq"].dump() + ")";
    const std::string note = text_of(finding, "note");
    text += (note.empty() ? "" : ": " + display_path(note)) + "\n";
  }
  if (number_of(result, "findings_left_out") > 0) {
    text += "and " + std::to_string(number_of(result, "findings_left_out")) + " more\n";
  }
  for (const Json& healed : result["healed"]) {
    text +=
        healed["healed"].get<bool>()
            ? "healed   " + place_of(healed) + " (@" + healed["seq"].dump() + ")\n"
            : "FAILED   " + place_of(healed) + ": " + display_path(text_of(healed, "why")) + "\n";
  }
  if (result.contains("lost")) text += "PROBLEM  " + display_path(text_of(result, "lost")) + "\n";
  std::string counts;
  for (const char* group : {"verdicts", "losses"}) {
    for (const auto& [word, count] : result[group].items()) {
      if (word == "none" || (counts.find(word) != std::string::npos)) continue;
      counts += (counts.empty() ? "" : ", ") + count.dump() + " " + word;
    }
  }
  return text + (counts.empty() ? "nothing to verify" : counts) + "\n";
}

std::string print_accept(const Json& result) {
  std::string text;
  for (const Json& accepted : result["accepted"]) {
    text += "accepted " + place_of(accepted) +
            (accepted.contains("gone") ? ", which is gone" : "") + "\n";
  }
  return text.empty() ? "nothing to accept: no verdict is open there\n" : text;
}

}  // namespace holdfast
