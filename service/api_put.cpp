// The API's put: contents that programs give.
#include "base/path.h"
#include "service/api.h"
#include "service/content_writer.h"

namespace holdfast {

namespace {

constexpr size_t kPieceBytes = 256 * 1024;

Result<RecordKind> kind_of(const std::string& text) {
  if (text.empty() || text == "dump") return RecordKind::kDump;
  if (text == "seed") return RecordKind::kSeed;
  return make_error(ErrorCode::kUsage, "a content is given as a dump or a seed, not as \"" +
                                           display_path(text) + "\"");
}

Status copy_body(ApiBody& body, ContentWriter& writer) {
  std::string piece(kPieceBytes, '\0');
  for (;;) {
    TRY_ASSIGN(const size_t got, body.read(piece.data(), piece.size()));
    if (got == 0) return {};
    TRY(writer.write(std::string_view(piece).substr(0, got)));
  }
}

}  // namespace

Status Api::put(const ApiRequest& request, ApiSink& sink) {
  if (!request.body) {
    return make_error(ErrorCode::kUsage, "a content is given as the body of the request");
  }
  GivenContent given;
  TRY_ASSIGN(given.kind, kind_of(request.get("kind")));
  given.note = request.get("note");
  TRY_ASSIGN(const auto writer, ContentWriter::begin(state_, gate_, request.get("path")));
  TRY(copy_body(*request.body, *writer));
  TRY_ASSIGN(const Record record, writer->finish(given));
  Json json;
  json["seq"] = record.seq.value;
  json["size"] = record.stat.size;
  json["hash"] = "xxh3:" + to_hex(record.hash.bytes.data(), record.hash.bytes.size());
  json["stored"] = true;
  json["new_bytes"] = writer->new_bytes();
  sink.write(json_line(json));
  return {};
}

}  // namespace holdfast
