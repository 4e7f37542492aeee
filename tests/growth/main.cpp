// holdfast_growth: makes long journals, and measures what the service answers about them
// (docs/limits.md). No test by itself.
//
//   holdfast_growth records STATE ROOT_PATH [RECORDS [FILES [DIRS [BATCH [PACK_BYTES]]]]]
//   holdfast_growth ask SOCKET TIMES TARGET...       TARGET: /v1/history?path=big:part-0/dir-1/…
#include <cstdio>
#include <cstdlib>

#include "tests/growth/ask.h"
#include "tests/growth/records.h"

namespace {

using namespace holdfast;
using namespace holdfast::growth;

Status records(const std::vector<std::string>& arguments) {
  Size size;
  uint64_t* const fields[] = {&size.records, &size.files, &size.dirs, &size.batch,
                              &size.pack_bytes};
  for (size_t i = 0; i < std::size(fields) && i + 2 < arguments.size(); ++i) {
    *fields[i] = std::strtoull(arguments[i + 2].c_str(), nullptr, 10);
  }
  return make_records(arguments[0], arguments[1], size);
}

Status ask_all(const std::vector<std::string>& arguments) {
  for (size_t i = 2; i < arguments.size(); ++i) {
    TRY_ASSIGN(const Asked asked, ask(arguments[0], arguments[i], std::atoi(arguments[1].c_str())));
    std::printf("%10.2f ms median %10.2f ms worst %9llu lines %12llu bytes  %s\n", asked.median_ms,
                asked.worst_ms, static_cast<unsigned long long>(asked.lines),
                static_cast<unsigned long long>(asked.bytes), arguments[i].c_str());
    std::fflush(stdout);
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  Status status = make_error(ErrorCode::kUsage,
                             "usage: holdfast_growth records STATE ROOT_PATH [RECORDS [FILES "
                             "[DIRS [BATCH [PACK_BYTES]]]]] | ask SOCKET TIMES TARGET...");
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1),
                                      arguments.end());
  if (arguments.size() >= 3 && arguments[0] == "records") status = records(rest);
  if (arguments.size() >= 4 && arguments[0] == "ask") status = ask_all(rest);
  if (!status.ok()) std::fprintf(stderr, "holdfast_growth: %s\n", status.error().message.c_str());
  return status.ok() ? 0 : 1;
}
