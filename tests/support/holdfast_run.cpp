#include "tests/support/holdfast_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

namespace holdfast {

namespace {
constexpr int kStartMs = 60'000;
}  // namespace

WorkDir::WorkDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/holdfast-it-XXXXXX";
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  char resolved[PATH_MAX];
  REQUIRE(::realpath(pattern.c_str(), resolved) != nullptr);
  path_ = resolved;
}

WorkDir::~WorkDir() {
  if (const char* keep = std::getenv("HOLDFAST_TEST_KEEP"); keep != nullptr) {
    std::printf("kept: %s\n", path_.c_str());
    return;
  }
  // rm knows how to remove paths that are longer than PATH_MAX.
  Process({{"rm", "-rf", "--one-file-system", "--", path_}, "", {}, 0}).wait();
}

std::string WorkDir::make(const std::string& name) const {
  make_dir(path(name));
  return path(name);
}

bool is_root_for(const std::string& what) {
  if (::geteuid() == 0) return true;
  const char* ci = std::getenv("CI");
  if (ci != nullptr && std::string(ci) == "true") FAIL("not root, but CI must test: " << what);
  WARN("left out, because only root can: " << what);
  return false;
}

std::unique_ptr<Process> Holdfast::launch(const std::vector<std::string>& watch_args,
                                          uid_t uid) const {
  Command command;
  command.args = wrapper_;
  command.args.insert(command.args.end(), {holdfast_binary(), "--state", state_, "watch"});
  command.args.insert(command.args.end(), watch_args.begin(), watch_args.end());
  command.uid = uid;
  command.env = env_;
  return std::make_unique<Process>(command);
}

void Holdfast::start(const std::vector<std::string>& watch_args) {
  REQUIRE(!running());
  service_ = launch(watch_args);
  if (!service_->wait_for_error(", ready", kStartMs)) {
    service_->signal(SIGKILL);
    const Outcome outcome = service_->wait();
    FAIL("the service did not start; exit code " << outcome.exit_code << ": " << outcome.err);
  }
}

void Holdfast::stop() {
  REQUIRE(service_);
  service_->signal(SIGTERM);
  const Outcome outcome = service_->wait(60'000);
  INFO("the service's log: " << outcome.err);
  REQUIRE_FALSE(outcome.timed_out);
  REQUIRE(outcome.exit_code == 0);
  service_.reset();
}

void Holdfast::kill() {
  REQUIRE(service_);
  INFO("the service's log: " << service_->error_output());
  REQUIRE(service_->running());  // it must not have died of something else before
  service_->signal(SIGKILL);
  service_->wait();
  service_.reset();
}

Outcome Holdfast::run(const std::vector<std::string>& args, const std::string& cwd) const {
  Command command;
  command.args = {holdfast_binary(), "--state", state_};
  command.args.insert(command.args.end(), args.begin(), args.end());
  command.cwd = cwd;
  command.env = env_;
  return run_process(command);
}

std::string Holdfast::text(const std::vector<std::string>& args) const {
  const Outcome outcome = run(args);
  std::string words;
  for (const std::string& arg : args) words += arg + " ";
  INFO("holdfast " << words << "said: " << outcome.err);
  INFO("the service's log: " << (service_ ? service_->error_output() : "(not running)"));
  REQUIRE(outcome.exit_code == 0);
  return outcome.out;
}

std::vector<TestJson> Holdfast::lines(std::vector<std::string> args) const {
  args.insert(args.begin(), "--json");  // not at the end, where a "--" may have ended the options
  return parse_lines(text(args));
}

TestJson Holdfast::json(const std::vector<std::string>& args) const {
  const std::vector<TestJson> all = lines(args);
  REQUIRE(all.size() == 1);
  return all[0];
}

uint64_t Holdfast::flush() const {
  const auto seq = json({"flush", "--timeout", "100s"}).at("seq").get<uint64_t>();
  if (std::getenv("HOLDFAST_TEST_TRACE") != nullptr) std::printf("flushed @%" PRIu64 "\n", seq);
  return seq;
}

void Holdfast::require_restores(const WorkDir& work, uint64_t seq, const Tree& expected) const {
  const std::string target = work.path("restored-" + std::to_string(seq));
  const TestJson result = json({"restore", "--at", at(seq), "--to", target});
  INFO("restored " << at(seq) << ": " << result.dump());
  REQUIRE(result.at("failed").empty());
  const std::string found = differences(expected, read_tree(target));
  run_tool({"rm", "-rf", "--", target});
  REQUIRE(found == "");
}

void Holdfast::require_clean(bool read_data) const {
  std::vector<std::string> args{"check", "--json"};
  if (read_data) args.emplace_back("--read-data");
  const Outcome outcome = run(args);
  INFO("check said: " << outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
}

std::vector<TestJson> parse_lines(const std::string& text) {
  std::vector<TestJson> all;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    TestJson json = TestJson::parse(line, nullptr, false);
    INFO("not JSON: " << line);
    REQUIRE_FALSE(json.is_discarded());
    all.push_back(std::move(json));
  }
  return all;
}

std::string at(uint64_t seq) { return "@" + std::to_string(seq); }

void write_file(const std::string& path, const std::string& bytes) {
  INFO("writing " << path);
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << bytes << std::flush;
  REQUIRE(stream.good());
}

void append_file(const std::string& path, const std::string& bytes) {
  INFO("appending to " << path);
  std::ofstream stream(path, std::ios::binary | std::ios::app);
  stream << bytes << std::flush;
  REQUIRE(stream.good());
}

std::string read_file(const std::string& path) {
  INFO("reading " << path);
  std::ifstream stream(path, std::ios::binary);
  REQUIRE(stream.good());
  return {std::istreambuf_iterator<char>(stream), {}};
}

bool exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

void make_dir(const std::string& path) {
  INFO("making the directory " << path);
  REQUIRE(::mkdir(path.c_str(), 0755) == 0);
}

void rename_path(const std::string& from, const std::string& to) {
  INFO("renaming " << from << " to " << to);
  REQUIRE(::rename(from.c_str(), to.c_str()) == 0);
}

std::string random_bytes_of(size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes((size + 7) / 8 * 8, '\0');
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace holdfast
