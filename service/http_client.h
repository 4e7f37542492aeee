// HttpClient: one request to a service's API socket. Blocking; one thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "service/api.h"

namespace holdfast {

// Hands the answer's body on as it arrives (the callback returns false to break off). kNotFound
// with errno ECONNREFUSED or ENOENT where no service answers on the socket; an error that the
// service reports keeps its code.
Status http_request(const std::string& socket_path, const ApiRequest& request,
                    const std::function<bool(std::string_view)>& body);

}  // namespace holdfast
