// Progress of long work, as lines of JSON while it runs.
#pragma once

#include <functional>

#include "service/api.h"

namespace holdfast {

// Runs `work` on a thread of its own, and reports `numbers` twice a second on the caller's.
void with_progress(ApiSink& sink, const std::function<Json()>& numbers,
                   const std::function<void()>& work);

}  // namespace holdfast
