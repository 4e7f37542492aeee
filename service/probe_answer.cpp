#include "service/probe_answer.h"

#include "base/path.h"

namespace holdfast {

namespace {

// "ok", or a line for each reason why not.
ProbeReply reply_of(const std::vector<std::string>& reasons, bool json) {
  ProbeReply reply;
  reply.status = reasons.empty() ? 200 : 503;
  if (json) {
    Json body{{"ok", reasons.empty()}, {"reasons", Json::array()}};
    for (const std::string& reason : reasons) body["reasons"].push_back(to_utf8_lossy(reason));
    reply.body = json_line(body);
    reply.type = "application/json";
    return reply;
  }
  if (reasons.empty()) reply.body = "ok\n";
  for (const std::string& reason : reasons) reply.body += to_utf8_lossy(reason) + "\n";
  return reply;
}

}  // namespace

ProbeReply answer_probe(Api& api, const ProbeRequest& request) {
  if (request.path == "/metrics") {
    auto text = api.metrics();
    if (!text.ok()) return {500, "The metrics cannot be told: " + text.error().message + "\n"};
    return {200, std::move(*text), "text/plain; version=0.0.4; charset=utf-8"};
  }
  const auto engine = api.engine_status();
  if (!engine.ok()) {
    return reply_of({"the service's loop does not answer: " + engine.error().message},
                    request.json);
  }
  if (request.path == "/healthz") return reply_of({}, request.json);
  return reply_of(not_ready(*engine, api.health().limits), request.json);
}

}  // namespace holdfast
