// Holdfast as a user meets it: the built program, a state directory, a service that is started,
// stopped and killed, and commands whose exit code, output and JSON are looked at.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/tree.h"

namespace holdfast {

using TestJson = nlohmann::json;

// A fresh directory below TMPDIR; with all that is in it, it is gone when the test is over, unless
// HOLDFAST_TEST_KEEP is set.
class WorkDir {
 public:
  WorkDir();
  ~WorkDir();
  WorkDir(const WorkDir&) = delete;
  WorkDir& operator=(const WorkDir&) = delete;
  std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : path_ + "/" + name;
  }
  std::string make(const std::string& name) const;  // a directory

 private:
  std::string path_;
};

// True as root. Else says what is left out and why; under CI, where we are root, that is a failure.
bool is_root_for(const std::string& what);

// From now on mounts are seen by this program and its children alone. A service that has to see
// them is started after this.
void enter_mount_namespace();

// A small file system of its own. Mounted in a mount namespace of this test program, so that it is
// gone with the program, however that ends.
class LoopMount {
 public:
  LoopMount(const WorkDir& work, const std::string& name, uint64_t bytes);
  ~LoopMount();
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Holdfast {
 public:
  explicit Holdfast(std::string state) : state_(std::move(state)) {}
  const std::string& state() const { return state_; }

  // Starts the service and waits until it answers.
  void start(const std::vector<std::string>& watch_args);
  // The same, but returns at once: what a start that is to fail says.
  std::unique_ptr<Process> launch(const std::vector<std::string>& watch_args, uid_t uid = 0) const;
  void stop();  // SIGTERM; must exit 0
  void kill();  // SIGKILL
  Process& service() { return *service_; }
  bool running() const { return service_ && service_->running(); }

  Outcome run(const std::vector<std::string>& args, const std::string& cwd = "") const;
  // These must exit with 0.
  std::string text(const std::vector<std::string>& args) const;
  std::vector<TestJson> lines(std::vector<std::string> args) const;  // with --json
  TestJson json(const std::vector<std::string>& args) const;         // exactly one line
  uint64_t flush() const;
  // Restores to a fresh directory and compares it with what it has to be.
  void require_restores(const WorkDir& work, uint64_t seq, const Tree& expected) const;
  void require_clean(bool read_data = false) const;  // check finds nothing

 private:
  std::string state_;
  std::unique_ptr<Process> service_;
};

// Lines of JSON as the program prints them.
std::vector<TestJson> parse_lines(const std::string& text);
std::string at(uint64_t seq);  // "@1234"

// Plain operations on files; the test fails where one does.
void write_file(const std::string& path, const std::string& bytes);
void append_file(const std::string& path, const std::string& bytes);
std::string read_file(const std::string& path);
bool exists(const std::string& path);  // a dangling symlink too
void make_dir(const std::string& path);
void rename_path(const std::string& from, const std::string& to);
std::string random_bytes_of(size_t size, unsigned seed);

}  // namespace holdfast
