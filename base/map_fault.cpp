#include "base/map_fault.h"

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace holdfast {

namespace {

struct Range {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0}, end{0};
};
// A signal's handler has nothing but what is static.
Range ranges[MapFault::kRangesMax];
std::atomic<const std::string*> words{nullptr};

std::atomic<uintptr_t> code_begin{0}, code_end{0};

bool is_of_lmdb(const void* context) {
#if defined(__x86_64__)
  const auto at =
      static_cast<uintptr_t>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  const uintptr_t at = static_cast<const ucontext_t*>(context)->uc_mcontext.pc;
#else
  const uintptr_t at = 0;
  static_cast<void>(context);
#endif
  return at >= code_begin && at < code_end;
}

bool is_mapped(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const Range& range : ranges) {
    if (at >= range.begin && at < range.end) return true;
  }
  return false;
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const bool from_memory = info->si_code > 0;  // and not sent by somebody
  if (from_memory && (is_mapped(info->si_addr) || is_of_lmdb(context))) MapFault::end();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void install(int signal) {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

MapFault::MapFault(const std::string& dir, uintptr_t begin, size_t bytes) {
  // Kept for good: a handler may be reading it. A process has one journal, or two in a rebuild.
  static std::string told;
  if (words == nullptr) {
    told =
        "holdfast: the journal in " + dir +
        " cannot be read any more: it is damaged, was cut short while it was in use, or its disk "
        "fails; stop the service and run holdfast check, then holdfast rebuild, which makes the "
        "journal anew from the packs, or holdfast repair\n";
    words = &told;
    install(SIGBUS);
  }
  for (size_t i = 0; i < kRangesMax && slot_ == kRangesMax; ++i) {
    if (!ranges[i].taken.exchange(true)) slot_ = i;
  }
  if (slot_ == kRangesMax) return;
  ranges[slot_].begin = begin;
  ranges[slot_].end = begin + bytes;
}

MapFault::~MapFault() {
  if (slot_ == kRangesMax) return;
  ranges[slot_].end = 0;
  ranges[slot_].begin = 0;
  ranges[slot_].taken = false;
}

void MapFault::set_code(uintptr_t begin, uintptr_t end) {
  code_begin = begin;
  code_end = end;
}

void MapFault::tell_of_segv() { install(SIGSEGV); }

void MapFault::end() {
  const std::string* const what = words;
  if (what != nullptr && ::write(STDERR_FILENO, what->data(), what->size()) < 0) ::_exit(1);
  ::_exit(1);
}

}  // namespace holdfast
