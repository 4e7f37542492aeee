#include "tools/export.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/path.h"
#include "service/words.h"
#include "tools/client.h"
#include "tools/receiver.h"

namespace holdfast {

namespace {

Status write_to_stdout(Session& session, const ApiRequest& asked) {
  Status written;
  TRY(session.run(asked, true, [&](std::string_view bytes) {
    if (!written.ok() || std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return;
    written = errno_error(errno, "writing the tar to standard output");
  }));
  if (written.ok() && std::fflush(stdout) != 0) {
    written = errno_error(errno, "writing the tar to standard output");
  }
  return written;
}

void print_exported(const ExportRun& how, const Json& plan, const Receiver& receiver,
                    const ChildEnd& end) {
  if (how.json) {
    const Json result{{"at", plan["at"]},
                      {"files", plan["files"]},
                      {"bytes", receiver.size()},
                      {"left_out", plan["left_out"]},
                      {"command", how.to_command},
                      {"exit", end.exit_status},
                      {"read_all", !receiver.closed_early()}};
    std::fputs(json_line(result).c_str(), stdout);
  } else if (!how.quiet) {
    std::printf("exported @%s: %s files, a tar of %s, to: %s%s\n", plan["at"]["seq"].dump().c_str(),
                plan["files"].dump().c_str(), words_for_bytes(receiver.size()).c_str(),
                display_path(how.to_command).c_str(),
                receiver.closed_early() ? " (which did not read all of it)" : "");
  }
}

Status write_to_command(Session& session, const ApiRequest& asked, const ExportRun& how,
                        const Json& plan) {
  const Interrupts interrupts;
  TRY_ASSIGN(Receiver receiver, Receiver::start(how.to_command));
  auto sent = session.run(asked, true, [&](std::string_view bytes) { receiver.take(bytes); });
  if (Interrupts::noted()) sent = make_error(ErrorCode::kInterrupted, "interrupted");
  if (!sent.ok()) {
    receiver.abandon();
    return sent.error().in(
        "the command was given a part of the tar, and was ended before the end "
        "of its input; do not use what it made");
  }
  const ChildEnd end = receiver.finish();
  if (Interrupts::noted()) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (!end.ok()) {
    return make_error(ErrorCode::kFailed, "exporting @" + plan["at"]["seq"].dump() +
                                              ": the command " + display_path(how.to_command) +
                                              " failed: " + end.words());
  }
  print_exported(how, plan, receiver, end);
  return {};
}

}  // namespace

Result<uint64_t> run_export(const ExportRun& how, const ApiRequest& request, Log& log) {
  if (how.to_command.empty() && ::isatty(STDOUT_FILENO) != 0) {
    return make_error(ErrorCode::kUsage,
                      "a tar is nothing for a terminal: send it to a file or to a program, as in "
                      "holdfast export uploads: > uploads.tar");
  }
  Session session(how.state_dir, log);
  ApiRequest asked = request;
  asked.method = "GET";
  asked.path = "/v1/export/plan";
  Json plan;
  Status refused;
  TRY(session.run(asked, false, [&](std::string_view line) {
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
  if (how.to_command.empty()) {
    TRY(write_to_stdout(session, asked));
  } else {
    TRY(write_to_command(session, asked, how, plan));
  }
  return left_out;
}

}  // namespace holdfast
