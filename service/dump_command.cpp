#include "service/dump_command.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/path.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr const char* kTrailer = "Holdfast-Dump";
constexpr int kAskMs = 200;               // for a cancel, and the end of the time
constexpr int kCommandNotFound = 127;     // as a shell says it
constexpr size_t kWordsBytesMax = 2'000;  // of standard error, in a record

// The end of what a command complained of, from the beginning of a line.
std::string last_words(const std::string& errors) {
  std::string text = errors;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.size() > kWordsBytesMax) {
    text.erase(0, text.size() - kWordsBytesMax);
    const size_t line = text.find('\n');
    if (line != std::string::npos) text.erase(0, line + 1);
  }
  return text;
}
}  // namespace

Status DumpCommand::start() {
  began_ns_ = clock_.boottime_ns();
  TRY_ASSIGN(Pipe out, make_pipe());
  TRY_ASSIGN(Pipe err, make_pipe());
  TRY_ASSIGN(Child child,
             Child::start_guarded(command_, {-1, out.write_end.get(), err.write_end.get()}));
  child_.emplace(std::move(child));
  out_ = std::move(out.read_end);
  err_ = std::move(err.read_end);
  ::fcntl(err_.get(), F_SETFL, O_NONBLOCK);
  return {};
}

void DumpCommand::take_errors() {
  char buffer[4096];
  for (;;) {
    const ssize_t got = err_ ? ::read(err_.get(), buffer, sizeof buffer) : 0;
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) err_.reset();
    if (got <= 0) return;
    errors_.append(buffer, static_cast<size_t>(got));
    if (errors_.size() > kErrorsBytesMax) errors_.erase(0, errors_.size() - kErrorsBytesMax);
  }
}

// True: there is output, or it has ended. False: the time is over, or somebody cancelled.
bool DumpCommand::wait_for_output() {
  for (;;) {
    if (cancelled_() || left_ns() <= 0) return false;
    pollfd fds[2]{{out_.get(), POLLIN, 0}, {err_ ? err_.get() : -1, POLLIN, 0}};
    if (::poll(fds, 2, kAskMs) < 0) continue;
    if (fds[1].revents != 0) take_errors();
    if (fds[0].revents != 0) return true;
  }
}

void DumpCommand::finish(const ChildEnd& end) {
  take_errors();
  DumpNote note;
  note.exit_status = end.exit_status;
  note.signal = end.signal;
  note.took_ns = clock_.boottime_ns() - began_ns_;
  if (left_ns() <= 0) {
    note.outcome = DumpOutcome::kFailed;
    note.words = "it did not end within " + words_for_duration(timeout_ns_);
  } else if (!end.ok()) {
    note.outcome = DumpOutcome::kFailed;
  }
  const std::string words = last_words(errors_);
  if (note.outcome == DumpOutcome::kFailed && !words.empty()) {
    note.words += (note.words.empty() ? "" : ": ") + words;
  }
  note_ = std::move(note);
}

Result<size_t> DumpCommand::read(char* out, size_t size) {
  if (note_) return size_t{0};
  if (!child_) {
    if (auto started = start(); !started.ok()) {
      errors_ = started.error().message;
      finish({kCommandNotFound, 0});
      return size_t{0};
    }
  }
  while (wait_for_output()) {
    const ssize_t got = ::read(out_.get(), out, size);
    if (got > 0) return static_cast<size_t>(got);
    if (got < 0 && errno == EINTR) continue;
    bool stopped = false;
    const ChildEnd end = child_->wait(left_ns(), cancelled_, stopped);
    if (stopped && cancelled_()) break;
    finish(end);
    return size_t{0};
  }
  const ChildEnd end = child_->end_group();
  if (cancelled_()) return make_error(ErrorCode::kInterrupted, "interrupted");
  finish(end);
  return size_t{0};
}

ApiBody::Trailers DumpCommand::trailers() {
  if (!note_) return {};
  return {{kTrailer, percent_encode(dump_note_text(*note_))}};
}

std::optional<DumpNote> dump_note_of(const ApiBody::Trailers& trailers) {
  for (const auto& [name, value] : trailers) {
    if (name != kTrailer) continue;
    const auto text = percent_decode(value);
    return text ? parse_dump_note(*text) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace holdfast
