#include "tools/export.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tools/client.h"

namespace holdfast {

Result<uint64_t> run_export(const std::string& state_dir, const ApiRequest& request, Log& log) {
  if (::isatty(STDOUT_FILENO) != 0) {
    return make_error(ErrorCode::kUsage,
                      "a tar is nothing for a terminal: send it to a file or to a program, as in "
                      "holdfast export uploads: > uploads.tar");
  }
  ApiRequest asked = request;
  asked.method = "GET";
  asked.path = "/v1/export/plan";
  Json plan;
  Status refused;
  TRY(run_request(state_dir, asked, false, log, [&](std::string_view line) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) return;
    if (json.contains("error")) {
      refused = make_error(error_code_of_name(json["code"].get<std::string>()),
                           json["error"].get<std::string>());
      return;
    }
    plan = std::move(json);
  }));
  TRY(refused);
  for (const Json& file : plan["missing"]) {
    std::fprintf(stderr, "holdfast: left out: %s: %s\n", file["path"].get<std::string>().c_str(),
                 file["why"].get<std::string>().c_str());
  }
  const auto left_out = plan["left_out"].get<uint64_t>();
  if (left_out > plan["missing"].size()) {
    std::fprintf(stderr, "holdfast: left out: %zu more\n",
                 static_cast<size_t>(left_out) - plan["missing"].size());
  }
  // The moment that was asked about, and not the one that it would mean by now.
  std::erase_if(asked.params, [](const auto& param) { return param.first == "at"; });
  asked.params.emplace_back("at", "@" + plan["at"]["seq"].dump());
  asked.path = "/v1/export";
  Status written;
  TRY(run_request(state_dir, asked, true, log, [&](std::string_view bytes) {
    if (!written.ok() || std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return;
    written = errno_error(errno, "writing the tar to standard output");
  }));
  if (written.ok() && std::fflush(stdout) != 0) {
    written = errno_error(errno, "writing the tar to standard output");
  }
  TRY(written);
  return left_out;
}

}  // namespace holdfast
