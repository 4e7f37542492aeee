// What the JSON answers look like for a person. Pure functions from a line to text.
#pragma once

#include <string>
#include <string_view>

#include "service/query.h"

namespace holdfast {

std::string print_record(const Json& record);  // log, history
std::string print_entry(const Json& record);   // ls
std::string print_diff(const Json& difference);
std::string print_dump_state(const Json& dump);
std::string print_status(const Json& status);
std::string print_check_health(const Json& status);
std::string print_snapshot(const Json& snapshot);
std::string print_restore(const Json& result);
std::string print_check(const Json& result);
std::string print_prune(const Json& result);
std::string print_verify(const Json& result);
std::string print_accept(const Json& result);

}  // namespace holdfast
