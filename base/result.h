// Result<T>: a value or an Error, returned by everything that can fail.
//
// An Error carries a code (what kind of failure a caller reacts to), the errno where there was one,
// and a message for a person: what was being done, to what, why it failed and what to do.
// Nothing here throws. CHECK is for broken invariants of the program itself and stays on in
// release; damage on disk, hostile input and full disks are Errors, never CHECKs.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace holdfast {

enum class ErrorCode {
  kFailed,       // no better word
  kUsage,        // the caller asked for something that makes no sense
  kNotFound,     // no such path, time, snapshot, chunk
  kExists,       // would overwrite
  kDamaged,      // bytes on disk are not what was written
  kNoSpace,      // ENOSPC, EDQUOT
  kPermission,   // EACCES, EPERM
  kChanged,      // moved under our feet: retry later
  kBusy,         // another process holds it
  kUnsupported,  // newer format, missing kernel feature
  kInterrupted,  // stop was requested
};

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kFailed;
  int sys_errno = 0;
  std::string message;

  // The same error, with what was being done put in front of its message.
  Error in(const std::string& context) const& {
    return {code, sys_errno, context + ": " + message};
  }
};

// An Error from errno: "<doing>: <strerror>". The code follows the errno.
Error errno_error(int sys_errno, std::string doing);
inline Error make_error(ErrorCode code, std::string message) {
  return {code, 0, std::move(message)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }
  T&& operator*() && { return std::move(std::get<0>(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace holdfast

// In a test that includes Catch2 first, Catch2's CHECK keeps the name.
#ifndef CHECK
#define CHECK(expression) \
  ((expression) ? void(0) : ::holdfast::check_failed(#expression, __FILE__, __LINE__))
#endif

#define HF_CONCAT_INNER(a, b) a##b
#define HF_CONCAT(a, b) HF_CONCAT_INNER(a, b)
// Returns the error of `expression`, if it has one.
#define TRY(expression)                                     \
  do {                                                      \
    if (auto try_status = (expression); !try_status.ok()) { \
      return try_status.error();                            \
    }                                                       \
  } while (false)
// Declares `declaration` with the value of `expression`, or returns its error.
#define TRY_ASSIGN(declaration, expression)             \
  auto HF_CONCAT(try_result_, __LINE__) = (expression); \
  if (!HF_CONCAT(try_result_, __LINE__).ok()) {         \
    return HF_CONCAT(try_result_, __LINE__).error();    \
  }                                                     \
  declaration = std::move(*HF_CONCAT(try_result_, __LINE__))
