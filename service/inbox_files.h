// InboxFiles: the places of an inbox's files: the folder, done/ and failed/ in it. Every step is
// taken through an open directory, and no link is followed. Blocking; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "service/inbox_rules.h"
#include "service/inbox_state.h"

namespace holdfast {

inline constexpr const char* kInboxDone = "done";
inline constexpr const char* kInboxFailed = "failed";
inline constexpr const char* kInboxLog = ".log";
inline constexpr const char* kInboxReplaced = ".replaced";

// done/ or failed/, made where it is not there.
Result<Fd> open_filing_dir(const std::string& inbox, const std::string& which);

// A name under which nothing is in done/ or failed/, nor a log or what else goes with it.
Result<std::string> free_filed_name(const std::string& inbox, const std::string& name,
                                    int64_t now_wall_ns);

// Writes the log and moves the dropped file beside it. May be done again: what was done stays.
// `log` gets a line where the file is not there any more.
Status file_job(const InboxJob& job, const std::string& which, const std::string& log);

// Files in failed/ that are no logs, by name.
std::vector<std::string> failed_files(const std::string& inbox);

}  // namespace holdfast
