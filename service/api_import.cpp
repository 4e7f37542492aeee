// The API's import: an archive as the body becomes a moment of a virtual root.
#include <algorithm>
#include <charconv>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/importer.h"

namespace holdfast {

namespace {

Result<size_t> strip_of(const std::string& text) {
  size_t strip = 0;
  if (text.empty()) return strip;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), strip);
  if (problem == std::errc{} && end == text.data() + text.size()) return strip;
  return make_error(ErrorCode::kUsage,
                    "--strip is a number of parts, not \"" + display_path(text) + "\"");
}

}  // namespace

// What a kill left behind, of an import that had more to journal than one batch holds.
Status Api::imports_of_status(const LmdbTxn& txn, std::vector<std::string>& problems) {
  TRY_ASSIGN(const auto roots, state_.journal->roots(txn));
  for (const Root& root : roots) {
    if (!root.is_virtual()) continue;
    TRY_ASSIGN(const auto version, state_.journal->version(txn, root.node, kLatest));
    if (!version || version->note != kImportBegun) continue;
    const auto running = std::make_shared<bool>(false);
    const std::string name = root.name;
    if (gate_.watches()) {
      TRY(gate_.with_engine([name, running](Engine& engine, const Gate::Done& done) {
        *running = engine.is_importing(name);
        done({});
      }));
    }
    if (*running) continue;
    problems.push_back(name + ": shows a part of an archive since @" +
                       std::to_string(version->seq.value) +
                       ", because its import was ended in the middle; import it again");
  }
  return {};
}

Status Api::import_archive(const ApiRequest& request, ApiSink& sink) {
  if (!request.body) {
    return make_error(ErrorCode::kUsage, "an archive is given as the body of the request");
  }
  ImportOptions options;
  options.root = request.get("root");
  options.message = request.get("message");
  TRY_ASSIGN(options.strip, strip_of(request.get("strip")));
  const auto read = [&](char* out, size_t size) -> Result<size_t> {
    if (sink.cancelled()) return make_error(ErrorCode::kInterrupted, "interrupted");
    return request.body->read(out, size);
  };
  TRY_ASSIGN(const ImportResult result, import_tar(state_, gate_, clock_, options, read));
  Json json;
  json["root"] = options.root;
  json["seq"] = result.snapshot.seq.value;
  json["snapshot"] = result.snapshot.name;
  json["time"] = format_time(result.snapshot.time_ns);
  json["message"] = to_utf8_lossy(options.message);
  json["files"] = result.counts.files;
  json["dirs"] = result.counts.dirs;
  json["bytes"] = result.counts.bytes;
  json["new_bytes"] = result.new_bytes;
  json["created"] = result.counts.created;
  json["changed"] = result.counts.changed;
  json["deleted"] = result.counts.deleted;
  json["stripped"] = result.stripped;
  json["left_out"] = result.left_out;
  json["named"] = Json::array();
  for (const auto& [path, why] : result.named) {
    Json entry;
    put_path(entry, "path", path);
    entry["why"] = to_utf8_lossy(why);
    json["named"].push_back(std::move(entry));
  }
  sink.write(json_line(json));
  return {};
}

}  // namespace holdfast
