#include "service/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "base/path.h"
#include "service/words.h"

namespace holdfast {

namespace {
struct Reply {
  CURL* curl = nullptr;
  ApiBody* sent = nullptr;
  Status sent_status;
  const std::function<bool(std::string_view)>* body = nullptr;
  std::string error_body;
  bool broken_off = false;
};

size_t on_body(char* data, size_t size, size_t count, void* context) {
  auto& reply = *static_cast<Reply*>(context);
  long status = 0;
  curl_easy_getinfo(reply.curl, CURLINFO_RESPONSE_CODE, &status);
  const std::string_view bytes(data, size * count);
  if (status != 200) {
    if (reply.error_body.size() < 64 * 1024) reply.error_body += bytes;
    return bytes.size();
  }
  if ((*reply.body)(bytes)) return bytes.size();
  reply.broken_off = true;
  return 0;
}

size_t on_send(char* out, size_t size, size_t count, void* context) {
  auto& reply = *static_cast<Reply*>(context);
  auto got = reply.sent->read(out, size * count);
  if (got.ok()) return *got;
  reply.sent_status = got.error();
  return CURL_READFUNC_ABORT;
}

int on_trailers(curl_slist** list, void* context) {
  for (const auto& [name, value] : static_cast<Reply*>(context)->sent->trailers()) {
    *list = curl_slist_append(*list, (name + ": " + value).c_str());
  }
  return CURL_TRAILERFUNC_OK;
}

using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

// The service is waited for before anything is sent: it may refuse, and what makes the body (a
// command that dumps a database) is not even started then.
HeaderList send_body(CURL* curl, Reply& reply) {
  constexpr long kServiceAnswersMs = 600'000;
  HeaderList headers(curl_slist_append(nullptr, "Expect: 100-continue"), curl_slist_free_all);
  curl_slist_append(headers.get(), "Transfer-Encoding: chunked");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, kServiceAnswersMs);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_send);
  curl_easy_setopt(curl, CURLOPT_READDATA, &reply);
  curl_easy_setopt(curl, CURLOPT_TRAILERFUNCTION, on_trailers);
  curl_easy_setopt(curl, CURLOPT_TRAILERDATA, &reply);
  return headers;
}

size_t on_answer(char* data, size_t size, size_t count, void* context) {
  constexpr size_t kAnswerBytesMax = 1 << 20;
  auto& body = *static_cast<std::string*>(context);
  body.append(data,
              std::min(size * count, kAnswerBytesMax - std::min(kAnswerBytesMax, body.size())));
  return size * count;
}

int on_progress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<const std::function<bool()>*>(context))() ? 1 : 0;
}
}  // namespace

Status http_request(const std::string& socket_path, const ApiRequest& request,
                    const std::function<bool(std::string_view)>& body) {
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return make_error(ErrorCode::kFailed, "starting libcurl failed");
  std::string url = "http://holdfast" + request.path;
  char separator = '?';
  for (const auto& [key, value] : request.params) {
    url += separator + percent_encode(key) + "=" + percent_encode(value);
    separator = '&';
  }
  Reply reply;
  reply.curl = curl.get();
  reply.body = &body;
  HeaderList headers(nullptr, curl_slist_free_all);
  if (request.body) {
    reply.sent = request.body.get();
    headers = send_body(curl.get(), reply);
  }
  curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket_path.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &reply);
  const int64_t timeout_ns = request.timeout_ns;
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ns / 1'000'000));
  const CURLcode code = curl_easy_perform(curl.get());
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return make_error(ErrorCode::kFailed,
                      "the service on " + display_path(socket_path) + " did not answer within " +
                          words_for_duration(timeout_ns) +
                          "; it hangs or is stopped: look at its log and at dmesg, then restart "
                          "it");
  }
  if (code == CURLE_COULDNT_CONNECT) {
    return Error{ErrorCode::kNotFound, ECONNREFUSED, "no service answers on " + socket_path};
  }
  TRY(reply.sent_status);
  if (reply.broken_off) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (code != CURLE_OK) {
    return make_error(ErrorCode::kFailed,
                      std::string("the service's answer broke off: ") + curl_easy_strerror(code) +
                          "; its log says why, holdfast check looks for damage");
  }
  if (reply.error_body.empty()) return {};
  const Json json = Json::parse(reply.error_body, nullptr, false);
  if (json.is_object() && json.contains("error") && json.contains("code")) {
    return make_error(error_code_of_name(json["code"].get<std::string>()),
                      json["error"].get<std::string>());
  }
  return make_error(ErrorCode::kFailed, "the service answered with an error it did not explain");
}

namespace {
// Takes the answer, within the time, and as long as nobody cancels it.
CURLcode perform(CURL* curl, int64_t timeout_ns, const std::function<bool()>& cancelled,
                 HttpAnswer& answer) {
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ns / 1'000'000));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &cancelled);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
  return code;
}
}  // namespace

Result<HttpAnswer> http_ask(const std::string& socket_path, const std::string& method,
                            const std::string& target, int64_t timeout_ns,
                            const std::function<bool()>& cancelled) {
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return make_error(ErrorCode::kFailed, "starting libcurl failed");
  HttpAnswer answer;
  curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket_path.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_URL, ("http://localhost" + target).c_str());
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, method.c_str());
  const CURLcode code = perform(curl.get(), timeout_ns, cancelled, answer);
  if (code == CURLE_ABORTED_BY_CALLBACK) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (code == CURLE_COULDNT_CONNECT) {
    return make_error(ErrorCode::kNotFound, "nobody answers on " + display_path(socket_path));
  }
  if (code != CURLE_OK) {
    return make_error(ErrorCode::kFailed,
                      display_path(socket_path) + ": " + curl_easy_strerror(code));
  }
  return answer;
}

std::string url_origin(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts(curl_url(), curl_url_cleanup);
  const auto part = [&](CURLUPart which) {
    char* text = nullptr;
    if (curl_url_get(parts.get(), which, &text, 0) != CURLUE_OK) return std::string();
    const std::unique_ptr<char, decltype(&curl_free)> owned(text, curl_free);
    return std::string(text);
  };
  if (!parts || curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return "an address that cannot be read";
  }
  const std::string port = part(CURLUPART_PORT);
  return part(CURLUPART_SCHEME) + "://" + part(CURLUPART_HOST) + (port.empty() ? "" : ":" + port);
}

namespace {
// Why no answer came. Where the sandbox of the service forbids the network, that is said. `details`
// are libcurl's own words, of which only those about a certificate hold nothing that may be secret.
std::string words_for_no_answer(CURL* curl, CURLcode code, const std::string& details) {
  long number = 0;
  curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
  std::string words = curl_easy_strerror(code);
  if (number != 0) words += ": " + errno_error(static_cast<int>(number), "connecting").message;
  const bool forbidden = number == EAFNOSUPPORT || number == EPERM || number == EACCES ||
                         number == ENETUNREACH || code == CURLE_COULDNT_RESOLVE_HOST ||
                         (code == CURLE_COULDNT_CONNECT && number == 0);  // not even a socket
  if (forbidden) {
    words +=
        "; where systemd runs the service, it has no network unless the drop-in network.conf "
        "allows it (docs/systemd.md)";
  }
  if (code == CURLE_PEER_FAILED_VERIFICATION && !details.empty()) words += ": " + details;
  if (code == CURLE_SSL_CACERT_BADFILE || code == CURLE_PEER_FAILED_VERIFICATION) {
    words += "; the certificates that are trusted are those of the package ca-certificates";
  }
  return words;
}
}  // namespace

Result<HttpAnswer> http_post_json(const std::string& url, const std::string& json,
                                  int64_t timeout_ns, const std::function<bool()>& cancelled) {
  std::array<char, CURL_ERROR_SIZE> details{};  // is there as long as the handle
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return make_error(ErrorCode::kFailed, "starting libcurl failed");
  HttpAnswer answer;
  const HeaderList headers(curl_slist_append(nullptr, "Content-Type: application/json"),
                           curl_slist_free_all);
  curl_slist_append(headers.get(), "Expect:");
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(json.size()));
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, json.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, details.data());
  // A name server that hangs is not waited for.
  curl_easy_setopt(curl.get(), CURLOPT_QUICK_EXIT, 1L);
  const CURLcode code = perform(curl.get(), timeout_ns, cancelled, answer);
  if (code == CURLE_ABORTED_BY_CALLBACK) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (code != CURLE_OK) {
    return make_error(ErrorCode::kFailed, words_for_no_answer(curl.get(), code, details.data()));
  }
  curl_off_t seconds = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RETRY_AFTER, &seconds);
  constexpr curl_off_t kSecondsMax = 86'400;
  answer.retry_after_ns = std::clamp<curl_off_t>(seconds, 0, kSecondsMax) * 1'000'000'000;
  return answer;
}

}  // namespace holdfast
