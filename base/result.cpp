#include "base/result.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace holdfast {

namespace {

ErrorCode code_of(int sys_errno) {
  switch (sys_errno) {
    case ENOENT:
    case ENOTDIR: return ErrorCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY: return ErrorCode::kExists;
    case ENOSPC:
    case EDQUOT: return ErrorCode::kNoSpace;
    case EACCES:
    case EPERM:
    case EROFS: return ErrorCode::kPermission;
    case ESTALE:
    case EXDEV:
    case ELOOP: return ErrorCode::kChanged;
    case EBUSY: return ErrorCode::kBusy;
    case EOPNOTSUPP:
    case ENOSYS: return ErrorCode::kUnsupported;
    default: return ErrorCode::kFailed;
  }
}

}  // namespace

Error errno_error(int sys_errno, std::string doing) {
  char buffer[128];
  const char* reason = strerror_r(sys_errno, buffer, sizeof buffer);
  return {code_of(sys_errno), sys_errno, std::move(doing) + ": " + reason};
}

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "holdfast: broken invariant: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace holdfast
