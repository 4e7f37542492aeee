// Whether a state directory can be used as it is, asked before anything is made in it. Values in,
// errors out; any thread.
#pragma once

#include <string>

#include "base/result.h"

namespace holdfast {

// kFailed with who owns it, who we are and what to run, where we may not write there. A directory
// that is not there yet is looked for where it would be made.
Status check_state_access(const std::string& state_dir);

// kPermission with the same, for who works with a state that is there: it is its owner's to do so.
Status check_state_usable(const std::string& state_dir);

// kNotFound: there is no state there, and somebody who knows says that there has to be
// ($HOLDFAST_EXPECT_STATE): most likely another volume is mounted, or none.
Status check_state_expected(const std::string& state_dir);

// Whether a service answers on this state: it holds the lock for as long as it runs, where a
// command that found none holds it for a moment.
bool is_served(const std::string& state_dir);

}  // namespace holdfast
