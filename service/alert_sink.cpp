#include "service/alert_sink.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/fs.h"
#include "base/path.h"
#include "service/command_run.h"
#include "service/http_client.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr int64_t kWebhookTimeoutNs = 15'000'000'000;
constexpr int64_t kCommandTimeoutNs = 60'000'000'000;
constexpr uint32_t kWebhookTriesMax = 150;  // a day, as the pauses between them grow
constexpr uint32_t kCommandTriesMax = 5;    // it may have done a part of its work each time
constexpr size_t kShownOutputMax = 400;
using Outcome = SendResult::Outcome;

class Webhook final : public AlertSink {
 public:
  Webhook(std::string url, AlertOrigin origin) : url_(std::move(url)), origin_(std::move(origin)) {}
  const char* name() const override { return "webhook"; }
  std::string place() const override { return url_origin(url_); }
  uint32_t tries_max() const override { return kWebhookTriesMax; }
  SendResult send(const AlertNotice& notice, const std::function<bool()>& stop) override {
    const auto answer =
        http_post_json(url_, json_line(notice_json(notice, origin_)), kWebhookTimeoutNs, stop);
    if (!answer.ok()) return {Outcome::kLater, answer.error().message, 0};
    const long status = answer->status;
    const std::string words = "HTTP status " + std::to_string(status);
    if (status >= 200 && status < 300) return {Outcome::kSent, words, 0};
    const bool later = status == 408 || status == 429 || status >= 500;
    if (later) return {Outcome::kLater, words, answer->retry_after_ns};
    if (status >= 300 && status < 400) {
      return {Outcome::kNever,
              words +
                  ", a redirect, which is not followed: webhook in [alerts] has to be the "
                  "address that it leads to",
              0};
    }
    return {Outcome::kNever, words + ": webhook in [alerts] is not an address that takes this", 0};
  }

 private:
  const std::string url_;
  const AlertOrigin origin_;
};

// A file without a name: the whole of it is there before the command starts, and whether that reads
// it does not matter.
Result<Fd> unnamed_file(const std::string& bytes) {
  Fd fd(::memfd_create("holdfast-alert", MFD_CLOEXEC));
  if (!fd) return errno_error(errno, "making a file in memory");
  TRY(pwrite_full(fd.get(), bytes, 0));
  return fd;
}

class AlertCommand final : public AlertSink {
 public:
  AlertCommand(std::vector<std::string> args, AlertOrigin origin)
      : args_(std::move(args)), origin_(std::move(origin)) {}
  const char* name() const override { return "command"; }
  std::string place() const override { return display_path(args_[0]); }
  uint32_t tries_max() const override { return kCommandTriesMax; }
  SendResult send(const AlertNotice& notice, const std::function<bool()>& stop) override {
    const auto input = unnamed_file(json_line(notice_json(notice, origin_)));
    if (!input.ok()) return {Outcome::kLater, input.error().message, 0};
    const auto end = run_to_end(
        {args_, notice_environment(notice, origin_), input->get(), kCommandTimeoutNs}, stop);
    if (!end.ok()) return {Outcome::kLater, end.error().message, 0};
    std::string words =
        end->timed_out
            ? "it did not end within " + words_for_duration(kCommandTimeoutNs) + " and was ended"
            : end->end.words();
    std::string output = end->output;
    while (!output.empty() && output.back() == '\n') output.pop_back();
    if (output.size() > kShownOutputMax) output.erase(0, output.size() - kShownOutputMax);
    if (!output.empty()) words += "; it wrote: " + display_text(output);
    const bool sent = !end->timed_out && !end->stopped && end->end.ok();
    return {sent ? Outcome::kSent : Outcome::kLater, words, 0};
  }

 private:
  const std::vector<std::string> args_;
  const AlertOrigin origin_;
};

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0) return "an unnamed host";
  return name;
}

}  // namespace

std::vector<std::unique_ptr<AlertSink>> make_alert_sinks(const AlertsConfig& config,
                                                         const std::string& state_dir) {
  const AlertOrigin origin{host_name(), state_dir};
  std::vector<std::unique_ptr<AlertSink>> sinks;
  if (!config.webhook.empty()) sinks.push_back(std::make_unique<Webhook>(config.webhook, origin));
  if (!config.command.empty()) {
    sinks.push_back(std::make_unique<AlertCommand>(config.command, origin));
  }
  return sinks;
}

}  // namespace holdfast
