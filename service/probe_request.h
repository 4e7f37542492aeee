// What probes and scrapers ask over TCP, and what they get: as much of HTTP as that takes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

inline constexpr size_t kProbeHeadMax = 8 * 1024;  // of a request, to its empty line

struct ProbeRequest {
  std::string method, path;
  bool json = false;  // ?json, or Accept: application/json
};

struct ProbeReply {
  int status = 200;
  std::string body;
  const char* type = "text/plain; charset=utf-8";
};

// Where the head ends, the empty line included; nullopt: not yet.
std::optional<size_t> probe_head_end(std::string_view bytes);
// nullopt: this is no HTTP.
std::optional<ProbeRequest> parse_probe(std::string_view head);
// Of what is not served here: everything but the three pages, and every method but GET and HEAD.
std::optional<ProbeReply> refuse_probe(const ProbeRequest& request);
// What goes over the wire; the connection ends behind it. HEAD gets no body.
std::string render_reply(const ProbeReply& reply, bool head_only);

}  // namespace holdfast
