// The three pages that a service shows over TCP (docs/health.md).
#pragma once

#include "service/api.h"
#include "service/probe_request.h"

namespace holdfast {

ProbeReply answer_probe(Api& api, const ProbeRequest& request);  // one that is not to be refused

}  // namespace holdfast
