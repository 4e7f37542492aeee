// MapFault: what the process says when a mapped file cannot be read. That is a signal and no error
// code: the file was cut short while it was in use, its disk fails, or what stands in it leads
// beyond its end. Then the words are written to standard error, and the process ends with exit code
// 1. The same where LMDB's own code faults, at whatever address: it follows what stands in the
// file. A fault anywhere else ends the process as if this were not here.
//
// Ranges may be made and dropped by any thread; a few at a time (kRangesMax), others are silent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace holdfast {

class MapFault {
 public:
  static constexpr size_t kRangesMax = 8;
  // While it lives, faults between `begin` and `begin + bytes` are told, of the journal in `dir`.
  MapFault(const std::string& dir, uintptr_t begin, size_t bytes);
  ~MapFault();
  MapFault(const MapFault&) = delete;
  MapFault& operator=(const MapFault&) = delete;

  // Besides SIGBUS: SIGSEGV, too, from now on. For processes that look through a file less
  // thoroughly before they map it.
  static void tell_of_segv();
  // Code between these addresses is LMDB's.
  static void set_code(uintptr_t begin, uintptr_t end);
  // The words for the journal, now: ends the process.
  [[noreturn]] static void end();

 private:
  size_t slot_ = kRangesMax;
};

}  // namespace holdfast
