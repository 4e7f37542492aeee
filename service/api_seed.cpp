// The API's part of seeding: which root a directory lies in, what the journal has of its files, and
// which writes are a seed's own. The files themselves are the client's work (service/seeder.h).
#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/path.h"
#include "base/root_name.h"
#include "journal/verdict.h"
#include "service/api.h"
#include "service/seed_lines.h"

namespace holdfast {

namespace {

constexpr size_t kBodyBytesMax = 256ull << 20;
constexpr size_t kRowsOfOneRead = 20'000;  // then the reading transaction is begun anew

Result<std::string> whole_body(const ApiRequest& request) {
  std::string whole;
  if (!request.body) return whole;
  std::string piece(64 * 1024, '\0');
  for (;;) {
    TRY_ASSIGN(const size_t got, request.body->read(piece.data(), piece.size()));
    if (got == 0) return whole;
    if (whole.size() + got > kBodyBytesMax) {
      return make_error(ErrorCode::kUsage, "the request's body is too long");
    }
    whole.append(piece, 0, got);
  }
}

// A directory that the client stands in or below: "inode btime_ns path".
struct DirClue {
  uint64_t inode = 0;
  int64_t btime_ns = 0;
  std::string path;
};

Result<DirClue> read_clue(const std::string& text) {
  DirClue clue;
  int length = 0;
  unsigned long long inode = 0;
  long long btime = 0;
  if (std::sscanf(text.c_str(), "%llu %lld %n", &inode, &btime, &length) != 2 || length == 0) {
    return make_error(ErrorCode::kUsage, "a directory is given as INODE BTIME PATH");
  }
  clue.inode = inode;
  clue.btime_ns = btime;
  clue.path = text.substr(static_cast<size_t>(length));
  return clue;
}

// Where a directory is in the journal.
struct SeedPlace {
  Root root;
  std::string relative;  // of the clue's directory
  std::string clue_path;
};

// The directory itself says which root it is: another container may have it under another path.
Result<std::optional<SeedPlace>> place_of(State& state, const LmdbTxn& txn,
                                          const std::vector<Root>& roots, const DirClue& clue) {
  std::vector<SeedPlace> found;
  for (const Root& root : roots) {
    if (root.is_virtual()) continue;
    const auto below = path_below(clue.path, root.path);
    if (clue.btime_ns == 0) {  // nothing but the path tells
      if (below && below->empty()) found.push_back({root, "", clue.path});
      continue;
    }
    TRY_ASSIGN(const auto row, state.journal->inode(txn, root.node, clue.inode));
    if (!row) continue;
    TRY_ASSIGN(const auto version, state.journal->version(txn, row->node, kLatest));
    if (!version || version->type != FileType::kDir || version->stat.btime_ns != clue.btime_ns) {
      continue;
    }
    auto path = state.journal->dir_path(txn, row->node, kLatest);
    if (path.ok()) found.push_back({root, *path, clue.path});
  }
  if (found.empty()) return std::optional<SeedPlace>();
  for (const SeedPlace& place : found) {
    if (join_path(place.root.path, place.relative) == clue.path) {
      return std::optional<SeedPlace>(place);
    }
  }
  if (found.size() > 1) {
    return make_error(ErrorCode::kUsage,
                      display_path(clue.path) + " may be in " + found[0].root.name + " or in " +
                          found[1].root.name +
                          ", which look the same (one is a copy of the "
                          "other's disk); mount it under the path that it is watched at");
  }
  return std::optional<SeedPlace>(found[0]);
}

// A name that no root has yet: the one that was asked for, or one made of the path's last part.
Result<std::string> name_for(const std::vector<Root>& roots, const std::string& path,
                             const std::string& asked) {
  const auto taken = [&](const std::string& wanted) {
    return std::any_of(roots.begin(), roots.end(),
                       [&](const Root& root) { return root.name == wanted; });
  };
  const std::string name = root_name_of(asked.empty() ? path : asked);
  if (!asked.empty() && taken(name)) {
    return make_error(ErrorCode::kUsage, display_path(path) + " cannot be the root " + name +
                                             ": the journal has one of that name, which is "
                                             "somewhere else; choose another NAME=" +
                                             display_path(path));
  }
  std::string free = name;
  for (int i = 2; taken(free); ++i) free = name + "-" + std::to_string(i);
  return free;
}

Result<RootSpec> spec_for(State& state, const LmdbTxn& txn, const std::vector<Root>& roots,
                          const std::optional<SeedPlace>& place, const ApiRequest& request) {
  const std::string dest = request.get("dest");
  RootSpec spec;
  if (!place) {
    for (const Root& root : roots) {
      if (root.is_virtual()) continue;
      if (!path_below(root.path, dest) && !path_below(dest, root.path)) continue;
      return make_error(ErrorCode::kUsage,
                        display_path(dest) + " is not in the root " + root.name + "=" +
                            display_path(root.path) +
                            " as the journal has it, and roots must not lie in each other: either "
                            "something else is mounted here, or a service has to watch that root");
    }
    TRY_ASSIGN(spec.name, name_for(roots, dest, request.get("name")));
    spec.path = dest;
    return spec;
  }
  spec.name = place->root.name;
  // Where the root's top is for this process: as far above as the directory lies below it.
  std::string top = place->clue_path;
  for (std::string rest = place->relative; !rest.empty();) {
    const auto [above, name] = split_last(rest);
    const auto [top_above, top_name] = split_last(top);
    if (name != top_name) {
      return make_error(ErrorCode::kUsage,
                        "only " + display_path(place->relative) + " of the root " +
                            place->root.name +
                            " is mounted here; that needs the service that watches all of it");
    }
    rest = std::string(above);
    top = std::string(top_above);
  }
  spec.path = top;
  TRY_ASSIGN(spec.excludes, excludes_of(*state.journal, txn, place->root));
  return spec;
}

Json place_json(const std::optional<SeedPlace>& place, const std::string& dest, bool watches) {
  Json json;
  json["root"] = place ? Json(place->root.name) : Json();
  json["watches"] = watches;
  if (!place) return json;
  const auto below = path_below(dest, place->clue_path);
  const std::string relative =
      join_path(place->relative, below ? std::string(*below) : std::string());
  put_path(json, "root_path", place->root.path);
  json["relative"] = percent_encode(relative);
  return json;
}

Result<std::optional<SeedPlace>> find_place(State& state, const LmdbTxn& txn,
                                            const std::vector<Root>& roots,
                                            const ApiRequest& request) {
  for (const std::string& text : request.all("dir")) {
    TRY_ASSIGN(const DirClue clue, read_clue(text));
    TRY_ASSIGN(auto place, place_of(state, txn, roots, clue));
    if (place) return place;
  }
  return std::optional<SeedPlace>();
}

SeedLine line_of(const Record& version, const std::string& name, bool damaged) {
  SeedLine line;
  line.name = name;
  SeedStat& stat = line.stat;
  stat.type = version.type;
  stat.size = version.stat.size;
  stat.inode = version.stat.inode;
  stat.mtime_ns = version.stat.mtime_ns;
  stat.ctime_ns = version.stat.ctime_ns;
  stat.rdev = version.stat.rdev;
  line.damaged = damaged;
  line.doubtful = (version.flags & (kFlagRacy | kFlagWriter)) != 0;
  const bool unknown = (version.flags & (kFlagUnstable | kFlagUnreadable)) != 0 ||
                       (version.type == FileType::kFile && !version.content.stored());
  if (unknown) return line;
  if (version.type == FileType::kFile) {
    line.value = SeedValue{FileType::kFile, version.hash};
  } else if (version.type == FileType::kSymlink) {
    line.value = seed_value_of_link(version.link_target);
  } else {
    line.value = seed_value_of_special(version.type, version.stat.rdev);
  }
  return line;
}

Result<Root> root_named(const std::vector<Root>& roots, const std::string& name) {
  for (const Root& root : roots) {
    if (root.name == name && !root.is_virtual()) return root;
  }
  return make_error(ErrorCode::kNotFound, "there is no root \"" + display_path(name) + "\"");
}

// A lost root somewhere else is no reason to stop: what is acted on is compared with the disk.
Result<Sequence> flush_all(State& state, Gate& gate) {
  auto flushed = gate.flush(kNoTimeout);
  if (flushed.ok() || flushed.error().code != ErrorCode::kChanged) return flushed;
  TRY_ASSIGN(auto txn, state.env->begin_read());
  TRY_ASSIGN(const Head head, state.journal->head(*txn));
  return head.seq;
}

}  // namespace

// With `act` the directory's root is looked after from here on, and brought up to date.
Status Api::seed_begin(const ApiRequest& request, ApiSink& sink) {
  const std::string dest = request.get("dest");
  std::optional<SeedPlace> place;
  std::optional<RootSpec> spec;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
    TRY_ASSIGN(place, find_place(state_, *txn, roots, request));
    if (request.flag("act")) {
      TRY_ASSIGN(const EngineStatus status, gate_.status());
      const bool looked_after =
          place && gate_.watches() &&
          std::any_of(status.roots.begin(), status.roots.end(),
                      [&](const RootStatus& root) { return root.name == place->root.name; });
      if (!looked_after) {
        TRY_ASSIGN(spec, spec_for(state_, *txn, roots, place, request));
      }
    }
  }
  if (spec) TRY(gate_.use_root(*spec));
  Json json;
  if (request.flag("act")) {
    TRY_ASSIGN(const Sequence seq, flush_all(state_, gate_));
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
    TRY_ASSIGN(place, find_place(state_, *txn, roots, request));
    if (!place) {
      return make_error(ErrorCode::kNotFound,
                        "the journal does not have " + display_path(dest) +
                            "; is it excluded from its root, or another file system mounted below "
                            "it? Watch it as a root of its own");
    }
    json = place_json(place, dest, gate_.watches());
    json["seq"] = seq.value;
  } else {
    json = place_json(place, dest, gate_.watches());
  }
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto standing, state_.journal->standing(*txn));
  json["damage"] = std::any_of(standing.begin(), standing.end(),
                               [](const Standing& open) { return is_corruption(open.verdict); });
  sink.write(json_line(json));
  return {};
}

// The body names directories below `path`, one a line; the answer has what the journal has in each.
Status Api::seed_baseline(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(const std::string body, whole_body(request));
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
  TRY_ASSIGN(const Root root, root_named(roots, request.get("root")));
  std::unordered_map<NodeId, bool, NodeIdHash> damaged;
  TRY_ASSIGN(const auto standing, state_.journal->standing(*txn));
  for (const Standing& open : standing) damaged[open.node] = is_corruption(open.verdict);
  const std::string top = request.get("path");
  size_t rows = 0;
  for (size_t at = 0; at < body.size();) {
    const size_t end = std::min(body.find('\n', at), body.size());
    const std::string encoded = body.substr(at, end - at);
    at = end + 1;
    TRY_ASSIGN(const std::string dir, percent_decode(encoded));
    if (rows >= kRowsOfOneRead) {
      rows = 0;
      TRY_ASSIGN(txn, state_.env->begin_read());
    }
    const auto there = state_.journal->locate(*txn, root.node, join_path(top, dir), kLatest);
    if (!there.ok() || there->type != FileType::kDir) continue;
    std::string lines = seed_dir_line(dir);
    Status read;
    TRY(state_.journal->for_each_entry(*txn, there->node, kLatest, [&](const Entry& entry) {
      ++rows;
      auto version = state_.journal->version(*txn, entry.node, kLatest);
      if (!version.ok()) read = version.error();
      if (!read.ok()) return Visit::kStop;
      const auto open = damaged.find(entry.node);
      const bool bad = open != damaged.end() && open->second;
      if (*version) lines += seed_file_line(line_of(**version, entry.name, bad));
      return Visit::kContinue;
    }));
    TRY(read);
    if (!sink.write(lines)) return make_error(ErrorCode::kInterrupted, "interrupted");
  }
  return {};
}

Status Api::seed_own(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(const std::string body, whole_body(request));
  NodeId node;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
    TRY_ASSIGN(const Root root, root_named(roots, request.get("root")));
    node = root.node;
  }
  std::vector<uint64_t> inodes;
  ByteReader reader(body);
  while (reader.left() >= sizeof(uint64_t)) inodes.push_back(reader.le<uint64_t>());
  TRY(gate_.with_engine([node, inodes](Engine& engine, const Gate::Done& done) {
    engine.know_own_files(node, inodes);
    done({});
  }));
  sink.write(json_line({{"known", inodes.size()}}));
  return {};
}

// Everything that was written is in the journal after this, and what a seed wrote is known no more.
Status Api::seed_end(const ApiRequest& request, ApiSink& sink) {
  NodeId node;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
    TRY_ASSIGN(const Root root, root_named(roots, request.get("root")));
    node = root.node;
  }
  auto flushed = flush_all(state_, gate_);
  TRY(gate_.with_engine([node](Engine& engine, const Gate::Done& done) {
    engine.know_own_files(node, {});
    done({});
  }));
  if (!flushed.ok()) return flushed.error();
  TRY_ASSIGN(const Sequence seq, gate_.journal_note(RecordKind::kSeed, node, request.get("note")));
  sink.write(json_line({{"seq", seq.value}}));
  return {};
}

}  // namespace holdfast
