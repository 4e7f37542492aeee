// AlertNotice as others see it: the JSON of the webhook and of the command's standard input, the
// command's environment, and a line of text (docs/alerts.md). Pure.
#pragma once

#include <string>

#include "service/alert_book.h"
#include "service/query.h"
#include "service/spawn.h"

namespace holdfast {

// Who tells.
struct AlertOrigin {
  std::string host, state_dir;
};

// "holdfast on web1: uploads: /srv/uploads is not there; …", "holdfast on web1: over after 3 min …"
std::string notice_text(const AlertNotice& notice, const AlertOrigin& origin);
// Valid UTF-8 and at most kNoticeBytesMax long.
inline constexpr size_t kNoticeBytesMax = 32 * 1024;
Json notice_json(const AlertNotice& notice, const AlertOrigin& origin);
// HOLDFAST_ALERT_EVENT and so on, one for each field.
Environment notice_environment(const AlertNotice& notice, const AlertOrigin& origin);
AlertNotice test_notice(int64_t now_wall_ns);

}  // namespace holdfast
