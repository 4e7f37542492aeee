// systemd's journal as a Log: entries with fields instead of lines (docs/systemd.md).
// system_journal.cpp is the only place that includes sd-journal.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"

namespace holdfast {

// Whether standard error goes to the journal (systemd.exec(5), $JOURNAL_STREAM).
bool stderr_is_system_journal();

// What does not reach the journal goes to standard error.
std::unique_ptr<Log> make_system_journal_log(LogLevel least);

// "" for kPlain, else 32 hexadecimal digits.
std::string message_id(LogKind kind);

// The fields of an entry, as "NAME=value"; paths are raw bytes.
std::vector<std::string> journal_fields(const LogEvent& event);

}  // namespace holdfast
