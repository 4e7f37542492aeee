#include "service/probe_request.h"

#include <algorithm>

namespace holdfast {

namespace {

constexpr const char* kPages = "/healthz, /readyz and /metrics";

const char* reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
  }
}

std::string lower(std::string_view text) {
  std::string low(text);
  std::transform(low.begin(), low.end(), low.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return low;
}

// A line without its end; moves on behind it.
std::string_view take_line(std::string_view& rest) {
  const size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

std::optional<size_t> probe_head_end(std::string_view bytes) {
  size_t end = std::string_view::npos;
  if (const size_t at = bytes.find("\r\n\r\n"); at != std::string_view::npos) end = at + 4;
  if (const size_t at = bytes.find("\n\n"); at != std::string_view::npos) {
    end = std::min(end, at + 2);
  }
  if (end == std::string_view::npos) return std::nullopt;
  return end;
}

std::optional<ProbeRequest> parse_probe(std::string_view head) {
  const std::string_view line = take_line(head);
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || last == first || first == 0) return std::nullopt;
  if (!line.substr(last + 1).starts_with("HTTP/1.")) return std::nullopt;
  ProbeRequest request;
  request.method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  if (!target.starts_with('/')) return std::nullopt;
  const size_t query = target.find('?');
  request.path = target.substr(0, query);
  if (query != std::string_view::npos) {
    const std::string_view words = target.substr(query + 1);
    request.json = words == "json" || words == "json=1" || words.starts_with("json&");
  }
  while (!head.empty()) {
    const std::string field = lower(take_line(head));
    if (field.starts_with("accept:") && field.find("application/json") != std::string::npos) {
      request.json = true;
    }
  }
  return request;
}

std::optional<ProbeReply> refuse_probe(const ProbeRequest& request) {
  const bool page =
      request.path == "/healthz" || request.path == "/readyz" || request.path == "/metrics";
  if (request.path.starts_with("/v1/") || request.path == "/v1") {
    return ProbeReply{403,
                      "The API gives out contents, so it is served on the Unix socket api.sock in "
                      "the state directory alone, whose permissions protect it; here are only " +
                          std::string(kPages) + ".\n"};
  }
  if (!page) {
    return ProbeReply{404, "There is no such page; here are only " + std::string(kPages) + ".\n"};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return ProbeReply{405, "This address only tells and changes nothing: use GET.\n"};
  }
  return std::nullopt;
}

std::string render_reply(const ProbeReply& reply, bool head_only) {
  std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " " + reason_of(reply.status) +
                     "\r\nContent-Type: " + reply.type +
                     "\r\nContent-Length: " + std::to_string(reply.body.size()) +
                     "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
  if (reply.status == 405) text += "Allow: GET, HEAD\r\n";
  text += "Connection: close\r\n\r\n";
  return head_only ? text : text + reply.body;
}

}  // namespace holdfast
