// Every row of every table of a state's LMDB environment, as values: what two journals are compared
// by. No service may have the state open; the environment is copied first and not touched.
#pragma once

#include <map>
#include <string>

#include "tests/support/holdfast_run.h"

namespace holdfast {

using JournalRows = std::map<std::string, std::map<std::string, std::string>>;

// `data_file`: an LMDB data file.
JournalRows rows_of_file(const WorkDir& work, const std::string& data_file);
JournalRows rows_of_state(const WorkDir& work, const std::string& state);

// One line a difference, at most twenty; empty where they are the same.
std::string row_differences(const JournalRows& expected, const JournalRows& found);

}  // namespace holdfast
