#include "service/docker.h"

#include "base/clock.h"
#include "base/path.h"
#include "service/http_client.h"

namespace holdfast {

namespace {
constexpr int64_t kInspectNs = 20 * kSecondNs;
constexpr int64_t kMarginNs =
    10 * kSecondNs;  // for the API itself, beyond what the container takes

// What the API says is wrong: {"message": "…"}, podman has "cause" too.
Error api_error(const HttpAnswer& answer, const std::string& doing) {
  const Json json = Json::parse(answer.body, nullptr, false);
  std::string why = "HTTP status " + std::to_string(answer.status);
  if (json.is_object() && json.contains("message") && json["message"].is_string()) {
    why = display_text(json["message"].get<std::string>());
  }
  constexpr long kNoSuchContainer = 404;
  return make_error(answer.status == kNoSuchContainer ? ErrorCode::kNotFound : ErrorCode::kFailed,
                    doing + ": " + why);
}
}  // namespace

Result<bool> DockerApi::is_running(const std::string& container) const {
  const std::string doing = "asking for the container " + display_path(container);
  auto answer = http_ask(socket_, "GET", "/containers/" + percent_encode(container) + "/json",
                         kInspectNs, cancelled_);
  // A socket without a server is no container that does not exist.
  if (!answer.ok() && answer.error().code != ErrorCode::kInterrupted) {
    return make_error(ErrorCode::kFailed, doing + ": " + answer.error().message);
  }
  if (!answer.ok()) return answer.error();
  if (answer->status != 200) return api_error(*answer, doing);
  const Json json = Json::parse(answer->body, nullptr, false);
  const Json state = json.is_object() ? json.value("State", Json()) : Json();
  if (!state.is_object() || !state.contains("Running") || !state["Running"].is_boolean()) {
    return make_error(ErrorCode::kFailed, doing + ": " + display_path(socket_) +
                                              " does not answer as the Docker API does");
  }
  return state["Running"].get<bool>();
}

Status DockerApi::change(const std::string& container, const std::string& doing,
                         const std::string& target, int64_t timeout_ns) const {
  constexpr long kDone = 204, kWasSoAlready = 304, kOk = 200;
  const std::string what = doing + " the container " + display_path(container);
  auto answer = http_ask(socket_, "POST", "/containers/" + percent_encode(container) + target,
                         timeout_ns, cancelled_);
  if (!answer.ok() && answer.error().code == ErrorCode::kInterrupted) return answer.error();
  if (!answer.ok()) return make_error(ErrorCode::kFailed, what + ": " + answer.error().message);
  if (answer->status == kDone || answer->status == kWasSoAlready || answer->status == kOk) {
    return {};
  }
  return api_error(*answer, what);
}

Status DockerApi::stop(const std::string& container, int64_t timeout_ns) const {
  const int64_t seconds = (timeout_ns + kSecondNs - 1) / kSecondNs;
  return change(container, "stopping", "/stop?t=" + std::to_string(seconds),
                timeout_ns + kMarginNs);
}

Status DockerApi::start(const std::string& container, int64_t timeout_ns) const {
  return change(container, "starting", "/start", timeout_ns);
}

}  // namespace holdfast
