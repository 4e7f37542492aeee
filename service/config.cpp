#include "service/config.h"

#include <algorithm>
#include <charconv>

#include "base/path.h"
#include "service/config_reader.h"
#include "service/inbox_rules.h"

namespace holdfast {

namespace {

bool is_valid_name(std::string_view name) {
  if (name.empty() || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

Result<std::string> read_watch_name(const ConfigSection& section, const std::string& path) {
  constexpr const char* kRule = "a name is made of letters, digits, dots, _ and -";
  TRY_ASSIGN(const std::optional<std::string> name, section.text("name"));
  if (name) {
    if (is_valid_name(*name)) return *name;
    return section.complain("name", "is \"" + *name + "\"; " + kRule);
  }
  std::string last_part = path.substr(path.rfind('/') + 1);
  if (is_valid_name(last_part)) return last_part;
  return section.complain("path", "is \"" + path + "\", whose last part can't be a name (" + kRule +
                                      "); add a line like: name = \"data\"");
}

Status read_watches(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::vector<ConfigSection> sections, top.sections("watch"));
  for (const ConfigSection& section : sections) {
    TRY(section.allow_only({"name", "path", "exclude"}));
    WatchConfig watch;
    watch.line = section.line();
    TRY_ASSIGN(watch.path, section.required_absolute_path("path"));
    TRY_ASSIGN(watch.name, read_watch_name(section, watch.path));
    TRY_ASSIGN(watch.exclude, section.texts("exclude"));
    for (const WatchConfig& other : config.watches) {
      const std::string place = "the [[watch]] of line " + std::to_string(other.line);
      if (other.name == watch.name) {
        return section.complain(section.has("name") ? "name" : "path",
                                "gives the name \"" + watch.name + "\", which " + place +
                                    " has already; give this one another name");
      }
      if (other.path == watch.path) {
        return section.complain("path", "is watched by " + place + " already; remove one of them");
      }
    }
    config.watches.push_back(std::move(watch));
  }
  return {};
}

Status read_snapshot(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("snapshot"));
  if (!section) return {};
  TRY(section->allow_only({"every", "keep", "pre", "post", "hook_timeout"}));
  TRY_ASSIGN(config.snapshot_every_ns, section->duration_ns("every"));
  TRY_ASSIGN(const std::optional<uint32_t> keep, section->count("keep"));
  if (keep == 0u) {
    return section->complain("keep",
                             "is 0; it is how many of the snapshots that the service takes "
                             "by itself are kept, at least 1");
  }
  SnapshotConfig& snapshot = config.snapshot;
  snapshot.keep = keep.value_or(snapshot.keep);
  TRY_ASSIGN(snapshot.pre, section->texts("pre"));
  TRY_ASSIGN(snapshot.post, section->texts("post"));
  TRY_ASSIGN(const std::optional<int64_t> timeout, section->duration_ns("hook_timeout"));
  snapshot.hook_timeout_ns = timeout.value_or(snapshot.hook_timeout_ns);
  return {};
}

Status read_retention(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("retention"));
  if (!section) return {};
  TRY(section->allow_only({"all", "hourly", "daily", "weekly", "monthly", "last"}));
  RetentionConfig& retention = config.retention.emplace();
  TRY_ASSIGN(retention.all_ns, section->duration_ns("all"));
  TRY_ASSIGN(retention.hourly, section->count("hourly"));
  TRY_ASSIGN(retention.daily, section->count("daily"));
  TRY_ASSIGN(retention.weekly, section->count("weekly"));
  TRY_ASSIGN(retention.monthly, section->count("monthly"));
  TRY_ASSIGN(retention.last, section->count("last"));
  return {};
}

Status read_scrub(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("scrub"));
  if (!section) return {};
  TRY(section->allow_only({"every", "rate"}));
  ScrubConfig& scrub = config.scrub.emplace();
  TRY_ASSIGN(scrub.every_ns, section->duration_ns("every"));
  TRY_ASSIGN(scrub.rate_bytes, section->rate_bytes("rate"));
  return {};
}

// "10%" or a size.
Result<FreeBelow> read_free_below(const ConfigSection& section) {
  FreeBelow below;
  TRY_ASSIGN(const std::optional<std::string> value, section.text("free_below"));
  if (!value) return below;
  if (!value->ends_with('%')) {
    below.bytes = parse_size_bytes(*value);
  } else {
    double percent = 0;
    const char* end = value->data() + value->size() - 1;
    const auto [rest, problem] =
        std::from_chars(value->data(), end, percent, std::chars_format::fixed);
    if (problem == std::errc{} && rest == end && percent > 0 && percent < 100) {
      below.percent = percent;
    }
  }
  if (!below.percent && below.bytes.value_or(0) == 0) {
    return section.complain("free_below",
                            "is \"" + *value +
                                "\"; it has to be a share like \"10%\" or a size like "
                                "\"5GB\"");
  }
  return below;
}

Status read_health(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("health"));
  if (!section) return {};
  TRY(section->allow_only({"max_age", "free_below"}));
  HealthConfig& health = config.health.emplace();
  TRY_ASSIGN(health.max_age_ns, section->duration_ns("max_age"));
  TRY_ASSIGN(health.free_below, read_free_below(*section));
  return {};
}

Status read_alerts(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("alerts"));
  if (!section) return {};
  TRY(section->allow_only({"free_below", "file_above", "webhook", "command"}));
  AlertsConfig& alerts = config.alerts.emplace();
  TRY_ASSIGN(const FreeBelow below, read_free_below(*section));
  alerts.free_below_percent = below.percent;
  alerts.free_below_bytes = below.bytes;
  TRY_ASSIGN(alerts.file_above_bytes, section->size_bytes("file_above"));
  TRY_ASSIGN(const std::optional<std::string> webhook, section->text("webhook"));
  if (webhook) {
    if (!is_webhook(*webhook)) {  // it may be a secret, and is not shown
      return section->complain("webhook",
                               "is no address: it has to start with https:// or http://, and must "
                               "not hold spaces");
    }
    alerts.webhook = *webhook;
  }
  TRY_ASSIGN(alerts.command, section->texts("command"));
  return {};
}

}  // namespace

Status read_quota(std::string_view text, SpaceLimits& limits) {
  const auto bytes = parse_size_bytes(text);
  if (!bytes) {
    return make_error(ErrorCode::kUsage, "quota is \"" + display_path(text) +
                                             "\"; it has to be a size like \"50GB\", or \"0\" for "
                                             "none");
  }
  limits.quota_bytes = *bytes;
  return {};
}

Status read_reserve(std::string_view text, SpaceLimits& limits) {
  limits.reserve_percent.reset();
  limits.reserve_bytes.reset();
  if (text.ends_with('%')) {
    double percent = 0;
    const char* end = text.data() + text.size() - 1;
    const auto [rest, problem] =
        std::from_chars(text.data(), end, percent, std::chars_format::fixed);
    if (problem == std::errc{} && rest == end && percent >= 0 && percent < 100) {
      limits.reserve_percent = percent;
      return {};
    }
  } else if (const auto bytes = parse_size_bytes(text)) {
    limits.reserve_bytes = *bytes;
    return {};
  }
  return make_error(ErrorCode::kUsage, "reserve is \"" + display_path(text) +
                                           "\"; it has to be a share like \"5%\", a size like "
                                           "\"10GB\", or \"0\" for none");
}

bool is_webhook(std::string_view text) {
  const size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
  return scheme != 0 && text.size() > scheme &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c != '\x7f'; });
}

std::optional<HttpConfig> parse_listen(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  HttpConfig http;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;  // an IPv6 address without brackets: where the port starts is a guess
  }
  const auto [rest, problem] =
      std::from_chars(digits.data(), digits.data() + digits.size(), http.port);
  if (problem != std::errc{} || rest != digits.data() + digits.size()) return std::nullopt;
  if (host.empty() || http.port == 0) return std::nullopt;
  http.host = host;
  return http;
}

std::string words_for(const HttpConfig& listen) {
  const bool six = listen.host.find(':') != std::string::npos;
  return (six ? "[" + listen.host + "]" : listen.host) + ":" + std::to_string(listen.port);
}

namespace {

Status read_http(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("http"));
  if (!section) return {};
  TRY(section->allow_only({"listen"}));
  TRY_ASSIGN(const std::string listen, section->required_text("listen", "127.0.0.1:7474"));
  config.http = parse_listen(listen);
  if (!config.http) {
    return section->complain("listen", "is \"" + listen +
                                           "\"; it has to be an address and a port, like "
                                           "\"127.0.0.1:7474\" or \"[::1]:7474\"");
  }
  return {};
}

Status read_store(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::optional<ConfigSection> section, top.section("store"));
  if (!section) return {};
  TRY(section->allow_only({"quota", "reserve"}));
  TRY_ASSIGN(const std::optional<std::string> quota, section->text("quota"));
  TRY_ASSIGN(const std::optional<std::string> reserve, section->text("reserve"));
  const auto told = [&](const char* key, const Status& read) -> Status {
    if (read.ok()) return {};
    const std::string& message = read.error().message;  // "quota is ..."
    return section->complain(key, message.substr(message.find(' ') + 1));
  };
  if (quota) TRY(told("quota", read_quota(*quota, config.store)));
  if (reserve) TRY(told("reserve", read_reserve(*reserve, config.store)));
  return {};
}

// "50%" of the last good dump, or "off".
Result<uint32_t> read_shrink_alert(const ConfigSection& section, uint32_t usual) {
  TRY_ASSIGN(const std::optional<std::string> value, section.text("shrink_alert"));
  if (!value) return usual;
  if (*value == "off") return 0u;
  uint32_t percent = 0;
  const char* end = value->data() + value->size();
  const auto [rest, problem] = std::from_chars(value->data(), end, percent);
  if (problem == std::errc{} && std::string_view(rest, end) == "%" && percent > 0 &&
      percent <= 100) {
    return percent;
  }
  return section.complain("shrink_alert",
                          "is \"" + *value +
                              "\"; it has to be a share of the last good dump, like \"50%\", or "
                              "\"off\"");
}

Status read_dumps(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::vector<ConfigSection> sections, top.sections("dump"));
  for (const ConfigSection& section : sections) {
    TRY(section.allow_only({"name", "command", "every", "timeout", "shrink_alert", "restore"}));
    DumpConfig dump;
    TRY_ASSIGN(dump.name, section.required_text("name", "app-db"));
    if (!is_valid_name(dump.name)) {
      return section.complain(
          "name", "is \"" + dump.name + "\"; a name is made of letters, digits, dots, _ and -");
    }
    const auto same_name = [&](const DumpConfig& other) { return other.name == dump.name; };
    if (std::any_of(config.dumps.begin(), config.dumps.end(), same_name)) {
      return section.complain("name", "is \"" + dump.name + "\", which another [[dump]] has; " +
                                          "give this one another name");
    }
    TRY_ASSIGN(dump.command, section.required_texts("command", R"(["pg_dump", "-Fc", "app"])"));
    TRY_ASSIGN(const std::optional<int64_t> every, section.duration_ns("every"));
    if (!every) return section.complain("every", "is missing; add a line like: every = \"6h\"");
    dump.every_ns = *every;
    TRY_ASSIGN(const std::optional<int64_t> timeout, section.duration_ns("timeout"));
    dump.timeout_ns = timeout.value_or(dump.timeout_ns);
    TRY_ASSIGN(dump.shrink_percent, read_shrink_alert(section, dump.shrink_percent));
    TRY_ASSIGN(const std::optional<std::string> restore, section.text("restore"));
    dump.restore = restore.value_or("");
    config.dumps.push_back(std::move(dump));
  }
  return {};
}

// "*.sql" to "*.sql", "*.sql.gz", ...
std::vector<std::string> with_packed(std::initializer_list<const char*> patterns) {
  std::vector<std::string> all;
  for (const std::string pattern : patterns) {
    for (const char* ending : {"", ".gz", ".zst", ".xz", ".bz2"}) all.push_back(pattern + ending);
  }
  return all;
}

Status read_match(const ConfigSection& section, InboxConfig& inbox) {
  TRY_ASSIGN(inbox.match, section.texts("match"));
  if (!section.has("match")) {
    inbox.match = inbox.replace.empty() ? with_packed({"*.sql", "*.dump", "*.db"})
                                        : with_packed({"*.db", "*.sqlite", "*.sqlite3"});
  }
  if (inbox.match.empty()) {
    return section.complain("match",
                            "is empty, so nothing would be taken; remove the line or name "
                            "a pattern like \"*.sql.gz\"");
  }
  for (const std::string& pattern : inbox.match) {
    if (pattern.find('/') != std::string::npos) {
      return section.complain(
          "match", "has \"" + pattern + "\"; a pattern is of names in the folder, without /");
    }
    if (is_never_taken(pattern)) {
      return section.complain(
          "match", "has \"" + pattern +
                       "\"; names that begin with a dot or end with .part, .tmp, .filepart or "
                       ".crdownload are uploads under way, and are never taken");
    }
  }
  return {};
}

// Either a command or a database to be replaced.
Status read_restore(const ConfigSection& section, InboxConfig& inbox) {
  constexpr const char* kExample = R"(["/usr/local/bin/restore-db", "{file}"])";
  if (!section.has("replace")) {
    TRY_ASSIGN(inbox.restore, section.required_texts("restore", kExample));
    if (inbox.restore[0].find("{file}") != std::string::npos) {
      return section.complain("restore",
                              "begins with {file}, which would run what is dropped; its first item "
                              "is the program");
    }
    return {};
  }
  if (section.has("restore")) {
    return section.complain("replace", "and restore are both there; remove one of them");
  }
  TRY_ASSIGN(inbox.replace, section.required_absolute_path("replace"));
  return {};
}

// All of them, since nobody knows what a command writes to; a database that is replaced is a file,
// and needs none.
Status read_inbox_dumps(const ConfigSection& section, const Config& config, InboxConfig& inbox) {
  if (!section.has("dumps")) {
    if (inbox.replace.empty()) inbox.dumps = config.dumps;
    return {};
  }
  TRY_ASSIGN(const std::vector<std::string> names, section.texts("dumps"));
  for (const std::string& name : names) {
    const auto named = [&](const DumpConfig& dump) { return dump.name == name; };
    const auto found = std::find_if(config.dumps.begin(), config.dumps.end(), named);
    if (found == config.dumps.end()) {
      return section.complain("dumps", "names \"" + name +
                                           "\", and there is no [[dump]] of that name; correct it, "
                                           "or remove the line for all of them");
    }
    inbox.dumps.push_back(*found);
  }
  return {};
}

Status read_inboxes(const ConfigSection& top, Config& config) {
  TRY_ASSIGN(const std::vector<ConfigSection> sections, top.sections("inbox"));
  for (const ConfigSection& section : sections) {
    TRY(section.allow_only({"path", "match", "stop", "restore", "replace", "docker", "dumps",
                            "timeout", "stop_timeout", "settle"}));
    InboxConfig inbox;
    inbox.line = section.line();
    TRY_ASSIGN(inbox.path, section.required_absolute_path("path"));
    for (const InboxConfig& other : config.inboxes) {
      if (other.path == inbox.path) {
        return section.complain("path", "is the inbox of line " + std::to_string(other.line) +
                                            " already; remove one of them");
      }
    }
    TRY(read_restore(section, inbox));
    TRY(read_match(section, inbox));
    TRY(read_inbox_dumps(section, config, inbox));
    TRY_ASSIGN(inbox.stop, section.texts("stop"));
    TRY_ASSIGN(const std::optional<std::string> docker, section.text("docker"));
    if (docker) {
      auto socket = docker_socket_of(*docker);
      if (!socket.ok()) return section.complain("docker", socket.error().message);
      inbox.docker = *socket;
    }
    TRY_ASSIGN(const std::optional<int64_t> timeout, section.duration_ns("timeout"));
    inbox.timeout_ns = timeout.value_or(inbox.timeout_ns);
    TRY_ASSIGN(const std::optional<int64_t> stop_timeout, section.duration_ns("stop_timeout"));
    inbox.stop_timeout_ns = stop_timeout.value_or(inbox.stop_timeout_ns);
    TRY_ASSIGN(const std::optional<int64_t> settle, section.duration_ns("settle"));
    inbox.settle_ns = settle.value_or(inbox.settle_ns);
    config.inboxes.push_back(std::move(inbox));
  }
  return {};
}

Result<Config> read_document(const toml::table& document, const std::string& file_name) {
  const ConfigSection top(document, "", file_name);
  TRY(top.allow_only({"state", "watch", "snapshot", "retention", "scrub", "alerts", "http",
                      "health", "store", "dump", "inbox"}));
  Config config;
  if (top.has("state")) {
    TRY_ASSIGN(config.state, top.required_absolute_path("state"));
  }
  TRY(read_watches(top, config));
  TRY(read_snapshot(top, config));
  TRY(read_retention(top, config));
  TRY(read_scrub(top, config));
  TRY(read_alerts(top, config));
  TRY(read_http(top, config));
  TRY(read_health(top, config));
  TRY(read_store(top, config));
  TRY(read_dumps(top, config));
  TRY(read_inboxes(top, config));
  return config;
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& file_name) {
  try {
    return read_document(toml::parse(text), file_name);
  } catch (const toml::parse_error& error) {
    const unsigned line = std::max(1U, static_cast<unsigned>(error.source().begin.line));
    return make_error(ErrorCode::kUsage,
                      file_name + ":" + std::to_string(line) +
                          ": this is not valid TOML: " + std::string(error.description()));
  }
}

}  // namespace holdfast
