#include "service/config.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {

constexpr int64_t kHourNs = 3'600'000'000'000;

Config parse_ok(std::string_view text) {
  Result<Config> config = parse_config(text, "holdfast.toml");
  if (!config.ok()) FAIL(config.error().message);
  return std::move(*config);
}

std::string message_of(std::string_view text) {
  const Result<Config> config = parse_config(text, "holdfast.toml");
  if (config.ok()) return "no error";
  REQUIRE(config.error().code == ErrorCode::kUsage);
  return config.error().message;
}

// Every section and key that the documentation shows, with its values.
constexpr std::string_view kWhole = R"(
state = "/var/lib/holdfast"
[[watch]]
name = "uploads"
path = "/data/uploads/"
exclude = ["*.tmp", "cache/"]
[[watch]]
path = "/srv/media"
[snapshot]
every = "1h"
[retention]
all = "48h"
hourly = 72
daily = 30
weekly = 12
last = 7
[scrub]
every = "7d"
rate = "50MB/s"
[alerts]
free_below = "10%"
file_above = "1GB"
webhook = "https://example.org/hook"
command = ["/usr/local/bin/page-me"]
[http]
listen = "127.0.0.1:7474"
[[dump]]
name = "app-db"
command = ["pg_dump", "-Fc", "app"]
every = "6h"
[[inbox]]
path = "/restore/incoming"
match = ["*.sql", "*.sql.gz"]
stop = ["app-web-1"]
restore = ["/usr/local/bin/restore-db", "{file}"]
)";

}  // namespace

TEST_CASE("a whole configuration is read", "[config]") {
  const Config config = parse_ok(kWhole);
  REQUIRE(config.state == "/var/lib/holdfast");
  REQUIRE(config.watches.size() == 2);
  REQUIRE(config.watches[0].name == "uploads");
  REQUIRE(config.watches[0].path == "/data/uploads");
  REQUIRE(config.watches[0].exclude == std::vector<std::string>{"*.tmp", "cache/"});
  REQUIRE(config.watches[0].line == 3);
  REQUIRE(config.watches[1].name == "media");
  REQUIRE(config.snapshot_every_ns == kHourNs);
  REQUIRE(config.retention->all_ns == 48 * kHourNs);
  REQUIRE(config.retention->hourly == 72U);
  REQUIRE_FALSE(config.retention->monthly.has_value());
  REQUIRE(config.scrub->every_ns == 7 * 24 * kHourNs);
  REQUIRE(config.scrub->rate_bytes == 50'000'000U);
  REQUIRE(config.alerts->free_below_percent == 10.0);
  REQUIRE(config.alerts->file_above_bytes == 1'000'000'000U);
  REQUIRE(config.alerts->webhook == "https://example.org/hook");
  REQUIRE(config.http->host == "127.0.0.1");
  REQUIRE(config.http->port == 7474);
  REQUIRE(config.dumps.at(0).every_ns == 6 * kHourNs);
  REQUIRE(config.dumps.at(0).command.size() == 3);
  REQUIRE(config.inboxes.at(0).match.size() == 2);
  REQUIRE(config.inboxes.at(0).restore.size() == 2);
}

TEST_CASE("an empty configuration is a configuration", "[config]") {
  const Config config = parse_ok("");
  REQUIRE(config.state.empty());
  REQUIRE(config.watches.empty());
}

TEST_CASE("sizes and addresses have several spellings", "[config]") {
  REQUIRE(parse_ok("[alerts]\nfree_below = \"1.5 GiB\"").alerts->free_below_bytes == 1610612736U);
  REQUIRE(parse_ok("[alerts]\nfile_above = \"4096\"").alerts->file_above_bytes == 4096U);
  REQUIRE(parse_ok("[scrub]\nrate = \"800kB/s\"").scrub->rate_bytes == 800'000U);
  REQUIRE(parse_ok("[http]\nlisten = \"[::1]:80\"").http->host == "::1");
  REQUIRE(parse_ok("[[inbox]]\npath = '/in'\nrestore = ['r']").inboxes[0].match.size() == 15);
  REQUIRE(parse_ok("[[inbox]]\npath = '/in'\nreplace = '/a.db'").inboxes[0].replace == "/a.db");
  const std::string dumps =
      "[[dump]]\nname = 'a'\ncommand = ['x']\nevery = '1h'\n"
      "[[dump]]\nname = 'b'\ncommand = ['x']\nevery = '1h'\n";
  const std::string into = dumps + "[[inbox]]\npath = '/in'\nrestore = ['r']\n";
  REQUIRE(parse_ok(into).inboxes[0].dumps.size() == 2);
  REQUIRE(parse_ok(into + "dumps = []").inboxes[0].dumps.empty());
  REQUIRE(parse_ok(into + "dumps = ['b']").inboxes[0].dumps.at(0).name == "b");
  REQUIRE(parse_ok(dumps + "[[inbox]]\npath = '/in'\nreplace = '/a.db'").inboxes[0].dumps.empty());
  REQUIRE(parse_ok("[[inbox]]\npath = '/in'\nrestore = ['r']\ndocker = 'unix:///p.sock'")
              .inboxes[0]
              .docker == "/p.sock");
}

TEST_CASE("a complaint names the file, the line and the fix", "[config]") {
  struct Row {
    const char* text;
    const char* place;
    const char* fix;
  };
  const Row row = GENERATE(values<Row>({
      // Keys.
      {"stat = '/s'", "holdfast.toml:1: unknown key \"stat\"", "did you mean \"state\"?"},
      {"\n[[watch]]\npath = '/d'\nexclud = []", ":4: unknown key \"exclud\" in [[watch]]",
       "did you mean \"exclude\"?"},
      {"[scrub]\nzzzzzzzz = 1", ":2: unknown key \"zzzzzzzz\" in [scrub]",
       "known are: every, rate"},
      {"[retentions]\nall = '1h'", ":1: unknown key \"retentions\"", "\"retention\""},
      {"zz = 1\naa = 1", ":1: unknown key \"zz\"", "known are: "},
      // Types.
      {"state = 3", ":1: state has to be a text in quotes", "it is an integer"},
      {"[watch]\npath = '/d'", ":1: watch has to be", "[[watch]]"},
      {"[[scrub]]\nevery = '1h'", ":1: scrub has to be one section", "[scrub]"},
      {"watch = [1]", ":1: watch has to be sections", "[[watch]]"},
      {"[[watch]]\npath = '/d'\nexclude = '*.tmp'", ":3: exclude", "[\"one\", \"two\"]"},
      {"[[watch]]\npath = '/d'\nexclude = [1]", ":3: exclude", "an item is no text"},
      {"[retention]\nhourly = '72'", ":2: hourly in [retention]", "without quotes"},
      {"[scrub]\nevery = 3600", ":2: every in [scrub]", "a text in quotes"},
      // Values.
      {"state = 'var/lib'", ":1: state is \"var/lib\"", "has to be absolute"},
      {"state = ''", ":1: state is empty", "remove the line"},
      {"state = \"/a\\u0000b\"", ":1: state contains a NUL", "remove it"},
      {"[[watch]]\nname = 'x'", ":1: path in [[watch]] is missing", "add a line like: path = "},
      {"[[watch]]\npath = '/'", ":2: path in [[watch]] is \"/\"", "add a line like: name = "},
      {"[[watch]]\npath = '/my data'", ":2: path in [[watch]]", "add a line like: name = "},
      {"[[watch]]\npath = '/d'\nname = 'a/b'", ":3: name in [[watch]] is \"a/b\"",
       "letters, digits"},
      {"[[watch]]\npath = '/d'\nname = '..'", ":3: name in [[watch]] is \"..\"", "letters, digits"},
      {"[[watch]]\npath = '/a/d'\n[[watch]]\npath = '/b/d'",
       ":4: path in [[watch]] gives the name \"d\"", "another name"},
      {"[[watch]]\npath = '/a/d'\n[[watch]]\nname = 'e'\npath = '/a/d/'", ":5: path in [[watch]]",
       "watched by the [[watch]] of line 1 already"},
      {"[snapshot]\nevery = 'often'", ":2: every in [snapshot] is \"often\"", "\"30m\""},
      {"[snapshot]\nevery = '0s'", ":2: every in [snapshot] is \"0s\"", "\"30m\""},
      {"[retention]\ndaily = -1", ":2: daily in [retention] is -1", "from 0 to"},
      {"[scrub]\nrate = '50MB'", ":2: rate in [scrub] is \"50MB\"", "\"50MB/s\""},
      {"[scrub]\nrate = '50XB/s'", ":2: rate in [scrub]", "\"50MB/s\""},
      {"[alerts]\nfree_below = '110%'", ":2: free_below in [alerts] is \"110%\"", "\"10%\""},
      {"[alerts]\nfree_below = '%'", ":2: free_below in [alerts] is \"%\"", "\"10%\""},
      {"[alerts]\nfile_above = '99999999999TB'", ":2: file_above in [alerts]", "\"500MB\""},
      {"[alerts]\nfile_above = 'nan'", ":2: file_above in [alerts]", "\"500MB\""},
      {"[alerts]\nwebhook = 'example.org'", ":2: webhook in [alerts]", "https://"},
      {"[alerts]\nwebhook = 'https://'", ":2: webhook in [alerts]", "https://"},
      {"[alerts]\nwebhook = 'https://a b'", ":2: webhook in [alerts]", "spaces"},
      {"[http]", ":1: listen in [http] is missing", "127.0.0.1:7474"},
      {"[http]\nlisten = '7474'", ":2: listen in [http]", "\"[::1]:7474\""},
      {"[http]\nlisten = '::1:80'", ":2: listen in [http]", "\"[::1]:7474\""},
      {"[http]\nlisten = 'localhost:70000'", ":2: listen in [http]", "an address and a port"},
      {"[[dump]]\nname = 'a'\nevery = '1h'", ":1: command in [[dump]] is missing", "pg_dump"},
      {"[[dump]]\nname = 'a'\ncommand = ['x']", ":1: every in [[dump]] is missing", "\"6h\""},
      {"[[dump]]\nname = 'a'\ncommand = ['x']\nevery = '1h'\nshrink_alert = '120%'",
       ":5: shrink_alert in [[dump]] is \"120%\"", "\"50%\", or \"off\""},
      {"[snapshot]\nkeep = 0", ":2: keep in [snapshot] is 0", "at least 1"},
      {"[[inbox]]\npath = '/in'\nrestore = []", ":3: restore in [[inbox]]", "{file}"},
      {"[[inbox]]\npath = 'in'\nrestore = ['x']", ":2: path in [[inbox]]", "absolute"},
      {"[[inbox]]\npath = '/in'", ":1: restore in [[inbox]] is missing", "{file}"},
      {"[[inbox]]\npath = '/in'\nrestore = ['{file}']", ":3: restore in [[inbox]]", "program"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nreplace = '/a'", ":4: replace in", "remove one"},
      {"[[inbox]]\npath = '/in'\nreplace = 'a.db'", ":3: replace in [[inbox]]", "absolute"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nmatch = []", ":4: match in", "*.sql.gz"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nmatch = ['a/b']", ":4: match in", "without /"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nmatch = ['*.part']", ":4: match in", "never"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\ndocker = 'tcp://h:1'", ":4: docker in",
       "unix://"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\ndumps = ['b']", ":4: dumps in", "no [[dump]]"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\ntimeout = '0s'", ":4: timeout in", "30m"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nstop_timeout = 3", ":4: stop_timeout in", "text"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nsettle = 'soon'", ":4: settle in", "30m"},
      {"[[inbox]]\npath = '/in'\nrestore = ['x']\nstop = 'web'", ":4: stop in", "a list"},
      {"[[inbox]]\npath = '/i'\nrestore = ['x']\n[[inbox]]\npath = '/i'", ":5: path in", "line 1"},
      // Syntax.
      {"a = 1\nb = = 2", "holdfast.toml:2: this is not valid TOML", ""},
      {"state = '/a'\nstate = '/b'", "holdfast.toml:2: this is not valid TOML", ""},
      {"state = \"\xff\"", "holdfast.toml:1: this is not valid TOML", ""},
  }));
  const std::string message = message_of(row.text);
  INFO(row.text);
  REQUIRE_THAT(message, Catch::Contains(row.place) && Catch::Contains(row.fix));
}

}  // namespace holdfast
