#include "base/system_journal.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cstdlib>

#include "base/path.h"

namespace holdfast {

namespace {

const char* id_of(LogKind kind) {
  switch (kind) {
    case LogKind::kReady: return "0751bfc83b9f4fab8096ca5a8eb31856";
    case LogKind::kCorruption: return "629fcf3d10034317b15314b1eea9ef8a";
    case LogKind::kSuspicion: return "e195d453fa584ab79def5b46aecd344f";
    case LogKind::kRootLost: return "6b7a870f1bbf467d9d3bb3018cdd747e";
    case LogKind::kRootBack: return "0f6af1d4978b4df693f81dbdf780b63b";
    case LogKind::kGap: return "733acf2518e24e2b86e75ee8d2c485dd";
    case LogKind::kDegraded: return "4cf108c1787c44d5bade1af332bf6807";
    case LogKind::kClock: return "68e75bcb22b5400d94a72d9a59338956";
    case LogKind::kStateFailed: return "584cd1711f5b4a1a88ad6366f144e48f";
    case LogKind::kStateWorks: return "7013c5f61f89409e858eab308630c77f";
    case LogKind::kNotKeeping: return "2cc35537484d448692ea7dd11ae3a32c";
    case LogKind::kKeeping: return "026421164ef547eb8540795fc51bb502";
    case LogKind::kDumpRejected: return "42ea943c7ffd47d0ba82d91ae4905bcc";
    case LogKind::kJobFailed: return "a038ff3472954463aee660eb36da46b1";
    case LogKind::kAlertRaised: return "cdd5bc3e51d1493eaca4cd888857542d";
    case LogKind::kAlertCleared: return "cc2f1f43d3434b5ab515dd5f19914ad9";
    case LogKind::kPlain: break;
  }
  return "";
}

int priority_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return LOG_DEBUG;
    case LogLevel::kInfo: return LOG_INFO;
    case LogLevel::kWarn: return LOG_WARNING;
    case LogLevel::kError: break;
  }
  return LOG_ERR;
}

class SystemJournalLog final : public Log {
 public:
  explicit SystemJournalLog(LogLevel least) : least_(least), stderr_(make_stderr_log(least)) {}
  void write(const LogEvent& event) override {
    if (event.level < least_) return;
    std::vector<std::string> fields = journal_fields(event);
    std::vector<iovec> pieces;
    pieces.reserve(fields.size());
    for (std::string& field : fields) pieces.push_back({field.data(), field.size()});
    if (::sd_journal_sendv(pieces.data(), static_cast<int>(pieces.size())) != 0) {
      stderr_->write(event);
    }
  }

 private:
  const LogLevel least_;
  const std::unique_ptr<Log> stderr_;
};

}  // namespace

bool stderr_is_system_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &st) != 0) return false;
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == stream;
}

std::unique_ptr<Log> make_system_journal_log(LogLevel least) {
  return std::make_unique<SystemJournalLog>(least);
}

std::string message_id(LogKind kind) { return id_of(kind); }

std::vector<std::string> journal_fields(const LogEvent& event) {
  std::vector<std::string> fields{"SYSLOG_IDENTIFIER=holdfast",
                                  "PRIORITY=" + std::to_string(priority_of(event.level)),
                                  "MESSAGE=" + display_text(event.message)};
  const auto add = [&](const char* name, std::string_view value) {
    if (!value.empty()) fields.push_back(std::string(name) + "=" + std::string(value));
  };
  add("MESSAGE_ID", message_id(event.kind));
  add("HOLDFAST_ROOT", event.root);
  add("HOLDFAST_PATH", event.path);
  if (event.seq != 0) add("HOLDFAST_SEQ", std::to_string(event.seq));
  return fields;
}

}  // namespace holdfast
