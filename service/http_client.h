// HttpClient: one request: to a service's API or a server of somebody else on a Unix socket, or to
// an address that a person configured. Blocking; one thread.
#pragma once

#include <cstdint>
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

struct HttpAnswer {
  long status = 0;
  std::string body;            // its first mebibyte
  int64_t retry_after_ns = 0;  // its header Retry-After; 0: it has none
};
// A request without a body to any server. `target` is path and query, encoded. kNotFound: nobody
// answers on the socket; kInterrupted: `cancelled`, which is asked a few times a second, said so.
Result<HttpAnswer> http_ask(const std::string& socket_path, const std::string& method,
                            const std::string& target, int64_t timeout_ns,
                            const std::function<bool()>& cancelled);

// POSTs JSON to an http:// or https:// address, whose certificate is verified; a redirect is not
// followed. What is behind the host may be a secret, and is in no message. `cancelled` as above.
Result<HttpAnswer> http_post_json(const std::string& url, const std::string& json,
                                  int64_t timeout_ns, const std::function<bool()>& cancelled);
// "https://example.org:8443" of an address, for people; without user, path and query.
std::string url_origin(const std::string& url);

}  // namespace holdfast
