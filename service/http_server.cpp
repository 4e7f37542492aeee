#include "service/http_server.h"

#include <microhttpd.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/fd.h"
#include "service/http_upload.h"

namespace holdfast {

namespace {

constexpr unsigned kConnectionsMax = 64;
constexpr size_t kHeldBytesMax = 1024 * 1024;

// One answer under way: the handler's thread fills the buffer, the connection's thread empties it.
// Small lines travel together where the connection is the slower one; a follower's line goes out at
// once.
class Answer final : public ApiSink {
 public:
  Answer(Api& api, ApiRequest request, const std::atomic<bool>& stopping) : stopping_(stopping) {
    raw_ = answers_with_bytes(request);
    thread_ = std::thread([this, &api, request = std::move(request)] { run(api, request); });
  }
  ~Answer() override {
    gone_ = true;
    {
      std::lock_guard lock(mutex_);
      room_.notify_all();
    }
    thread_.join();
  }

  bool write(std::string_view bytes) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return gone_ || held_.size() < kHeldBytesMax; });
    if (gone_) return false;
    held_ += bytes;
    started_ = true;
    filled_.notify_all();
    return !cancelled();
  }
  bool cancelled() override { return gone_ || stopping_; }

  // Waits until there is a first piece or the end; then the status is known.
  void wait_for_start() { current_ = take(); }
  const Status& status() const { return status_; }
  const Status& wait_for_end() const {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return finished_; });
    return status_;
  }
  bool has_data() const { return current_.has_value(); }
  bool raw() const { return raw_; }

  ssize_t read(char* out, size_t size) {
    while (!current_ || offset_ == current_->size()) {
      current_ = take();
      offset_ = 0;
      if (!current_)
        return failed_raw_ ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    }
    const size_t taken = std::min(size, current_->size() - offset_);
    std::memcpy(out, current_->data() + offset_, taken);
    offset_ += taken;
    return static_cast<ssize_t>(taken);
  }

 private:
  void run(Api& api, const ApiRequest& request) {
    auto status = api.handle(request, *this);
    if (auto* upload = dynamic_cast<HttpUpload*>(request.body.get())) upload->close();
    std::lock_guard lock(mutex_);
    if (!status.ok() && started_) {
      failed_raw_ = raw_;
      if (!raw_) held_ += error_line(status.error());
    }
    status_ = std::move(status);
    finished_ = true;
    filled_.notify_all();
  }

  // Waits for bytes; nullopt at the end.
  std::optional<std::string> take() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return finished_ || !held_.empty(); });
    if (held_.empty()) return std::nullopt;
    room_.notify_all();
    return std::exchange(held_, {});
  }

 public:
  static std::string error_line(const Error& error) {
    return json_line({{"error", error.message}, {"code", error_code_name(error.code)}});
  }

 private:
  const std::atomic<bool>& stopping_;
  std::atomic<bool> gone_{false};
  std::atomic<bool> failed_raw_{false};
  bool raw_ = false;
  mutable std::mutex mutex_;  // of what follows, down to status_
  mutable std::condition_variable filled_;
  std::condition_variable room_;
  std::string held_;
  bool started_ = false, finished_ = false;
  Status status_;                       // read only after the end
  std::optional<std::string> current_;  // the connection's thread
  size_t offset_ = 0;
  std::thread thread_;
};

unsigned http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage: return 400;
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kExists:
    case ErrorCode::kBusy:
    case ErrorCode::kChanged: return 409;
    case ErrorCode::kNoSpace: return 507;
    default: return 500;
  }
}

}  // namespace

struct HttpServer::Impl {
  Api* api = nullptr;
  std::string socket_path;
  std::atomic<bool> stopping{false};
  MHD_Daemon* daemon = nullptr;

  // A request whose body is still coming.
  struct Uploading {
    std::shared_ptr<HttpUpload> body;
    std::unique_ptr<Answer> answer;
  };

  static MHD_Result answer(void* self, MHD_Connection* connection, const char* url,
                           const char* method, const char*, const char*, size_t* upload_size,
                           void** context);
  static void completed(void* self, MHD_Connection* connection, void** context,
                        MHD_RequestTerminationCode);
  MHD_Result begin_upload(MHD_Connection* connection, ApiRequest request, void** context);
  static MHD_Result respond(MHD_Connection* connection, std::unique_ptr<Answer> answer);
  MHD_Result refuse(MHD_Connection* connection, const Answer& answer) const;
};

namespace {
char no_body;  // the context of requests without one

ApiBody::Trailers values_of(MHD_Connection* connection, MHD_ValueKind kind) {
  ApiBody::Trailers values;
  MHD_get_connection_values_n(
      connection, kind,
      [](void* out, MHD_ValueKind, const char* key, size_t key_size, const char* value,
         size_t value_size) {
        static_cast<ApiBody::Trailers*>(out)->emplace_back(
            std::string(key, key_size), value ? std::string(value, value_size) : std::string());
        return MHD_YES;
      },
      &values);
  return values;
}
}  // namespace

MHD_Result HttpServer::Impl::answer(void* self, MHD_Connection* connection, const char* url,
                                    const char* method, const char*, const char* upload_data,
                                    size_t* upload_size, void** context) {
  auto& impl = *static_cast<Impl*>(self);
  if (*context != nullptr && *context != &no_body) {
    auto& uploading = *static_cast<Uploading*>(*context);
    if (*upload_size != 0) {
      const bool taken = uploading.body->push({upload_data, *upload_size});
      *upload_size = 0;
      return taken ? MHD_YES : impl.refuse(connection, *uploading.answer);
    }
    uploading.body->end(values_of(connection, MHD_FOOTER_KIND));
    return respond(connection, std::move(uploading.answer));
  }
  if (*upload_size != 0) {  // of a request that has none
    *upload_size = 0;
    return MHD_YES;
  }
  const std::string_view path(url);
  const bool takes_body = path == "/v1/put" || path == "/v1/import" ||
                          path == "/v1/seed/baseline" || path == "/v1/seed/own";
  if (*context == nullptr && !takes_body) {  // headers only; the request comes with the next call
    *context = &no_body;
    return MHD_YES;
  }
  ApiRequest request;
  request.method = method;
  request.path = path;
  request.params = values_of(connection, MHD_GET_ARGUMENT_KIND);
  if (takes_body) return impl.begin_upload(connection, std::move(request), context);
  return respond(connection,
                 std::make_unique<Answer>(*impl.api, std::move(request), impl.stopping));
}

// Once the headers are there, and before the client is told to send: a refusal is told at once.
MHD_Result HttpServer::Impl::begin_upload(MHD_Connection* connection, ApiRequest request,
                                          void** context) {
  auto uploading = std::make_unique<Uploading>();
  uploading->body = std::make_shared<HttpUpload>();
  request.body = uploading->body;
  uploading->answer = std::make_unique<Answer>(*api, std::move(request), stopping);
  if (!uploading->body->wait_for_reader()) {
    *context = &no_body;
    return respond(connection, std::move(uploading->answer));
  }
  *context = uploading.release();
  return MHD_YES;
}

// In the middle of a body, where libmicrohttpd takes no answer before it has read the rest, which
// may be a hundred gigabytes. Nothing was answered yet, so the connection is ours: the answer is
// written, the client has a moment to see it and to close, and nothing more is read.
MHD_Result HttpServer::Impl::refuse(MHD_Connection* connection, const Answer& answer) const {
  constexpr int kSeenMs = 2'000, kAskMs = 100;
  const Status& status = answer.wait_for_end();
  if (status.ok()) return MHD_YES;  // it needs no more; the rest is passed over
  const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (info == nullptr) return MHD_NO;
  const std::string line = Answer::error_line(status.error());
  const std::string text = "HTTP/1.1 " + std::to_string(http_status(status.error().code)) +
                           " Refused\r\nContent-Type: application/x-ndjson\r\nContent-Length: " +
                           std::to_string(line.size()) + "\r\nConnection: close\r\n\r\n" + line;
  const ssize_t sent = ::send(info->connect_fd, text.data(), text.size(), MSG_NOSIGNAL);
  for (int ms = 0; sent > 0 && ms < kSeenMs && !stopping; ms += kAskMs) {
    pollfd closed{info->connect_fd, POLLRDHUP, 0};
    if (::poll(&closed, 1, kAskMs) > 0) break;
  }
  return MHD_NO;
}

void HttpServer::Impl::completed(void*, MHD_Connection*, void** context,
                                 MHD_RequestTerminationCode) {
  if (*context == nullptr || *context == &no_body) return;
  const std::unique_ptr<Uploading> uploading(static_cast<Uploading*>(*context));
  *context = nullptr;
  uploading->body->break_off();  // where it has not ended
}

MHD_Result HttpServer::Impl::respond(MHD_Connection* connection, std::unique_ptr<Answer> answer) {
  answer->wait_for_start();
  MHD_Response* response = nullptr;
  unsigned status = 200;
  const bool raw = answer->raw();
  if (!answer->has_data() && !answer->status().ok()) {
    const std::string line = Answer::error_line(answer->status().error());
    status = http_status(answer->status().error().code);
    response = MHD_create_response_from_buffer(line.size(), const_cast<char*>(line.data()),
                                               MHD_RESPMEM_MUST_COPY);
  } else {
    response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, 128 * 1024,
        [](void* state, uint64_t, char* out, size_t size) {
          return static_cast<Answer*>(state)->read(out, size);
        },
        answer.release(),
        [](void* state) { std::unique_ptr<Answer>(static_cast<Answer*>(state)); });
  }
  if (response == nullptr) return MHD_NO;
  const bool bytes = raw && status == 200;
  MHD_add_response_header(response, "Content-Type",
                          bytes ? "application/octet-stream" : "application/x-ndjson");
  const MHD_Result queued = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return queued;
}

HttpServer::HttpServer() : impl_(std::make_unique<Impl>()) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& socket_path, Api& api) {
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->impl_->api = &api;
  server->impl_->socket_path = socket_path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return make_error(ErrorCode::kUsage,
                      "the path of the API socket, " + socket_path +
                          ", is longer than a socket's may be (107 bytes); choose a "
                          "shorter state directory");
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(errno, "creating the API socket");
  ::unlink(socket_path.c_str());
  const mode_t mask = ::umask(0177);
  const int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int bind_errno = errno;
  ::umask(mask);
  if (bound != 0) return errno_error(bind_errno, "binding the API socket " + socket_path);
  if (::listen(fd.get(), 128) != 0) return errno_error(errno, "listening on " + socket_path);
  server->impl_->daemon = MHD_start_daemon(
      MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC, 0, nullptr,
      nullptr, &Impl::answer, server->impl_.get(), MHD_OPTION_LISTEN_SOCKET, fd.get(),
      MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax, MHD_OPTION_NOTIFY_COMPLETED, &Impl::completed,
      nullptr, MHD_OPTION_END);
  if (server->impl_->daemon == nullptr) {
    return make_error(ErrorCode::kFailed, "starting the API on " + socket_path + " failed");
  }
  fd.release();  // the daemon closes it
  return server;
}

HttpServer::~HttpServer() {
  impl_->stopping = true;
  if (impl_->daemon != nullptr) MHD_stop_daemon(impl_->daemon);
  ::unlink(impl_->socket_path.c_str());
}

}  // namespace holdfast
