#include "tools/receiver.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "tools/client.h"

namespace holdfast {

Result<Receiver> Receiver::start(const std::string& command) {
  ::signal(SIGPIPE, SIG_IGN);
  TRY_ASSIGN(Pipe pipe, make_pipe());
  TRY_ASSIGN(Child child,
             Child::start_guarded({"/bin/sh", "-c", command}, {pipe.read_end.get(), -1, -1},
                                  pipe.write_end.get()));
  return Receiver(std::move(child), std::move(pipe.write_end));
}

void Receiver::take(std::string_view bytes) {
  hasher_->update(bytes);
  size_ += bytes.size();
  send(held_);
  held_ = bytes;
}

std::string Receiver::hash() const {
  const ContentHash hash = hasher_->finish();
  return "xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size());
}

ChildEnd Receiver::finish() {
  send(held_);
  in_.reset();
  child_.let_go();
  bool stopped = false;
  return child_.wait(kNoTimeout, Interrupts::noted, stopped);
}

void Receiver::send(std::string_view bytes) {
  while (!bytes.empty() && !closed_early_ && !Interrupts::noted()) {
    const ssize_t sent = ::write(in_.get(), bytes.data(), bytes.size());
    if (sent < 0 && errno == EINTR) continue;
    closed_early_ = sent < 0;  // it reads no more; how it ends says what that means
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

}  // namespace holdfast
