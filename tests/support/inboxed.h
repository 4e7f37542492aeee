// Inboxed: a service with a restore inbox and a Docker API of the test's own. The restore command
// is a script that writes what it got to a file of its own, and then does what the test says.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/fake_docker.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {

struct Inboxed {
  WorkDir work;
  std::string data = work.make("data"), folder = work.make("in box");
  Holdfast holdfast{work.path("state")};
  FakeDocker docker{work.path("docker.sock")};

  Inboxed() {
    write_file(data + "/a", "first");
    docker.add("web");
    docker.add("worker");
    script("true");
  }
  // What the command does after it wrote what it got: sh.
  void script(const std::string& then) const {
    write_file(work.path("restore.sh"), "cat \"$1\" >> " + work.path("got") +
                                            "\nprintf '%s|' \"$@\" >> " + work.path("args") +
                                            "\nenv >" + work.path("env") + "\n" + then + "\n");
  }
  // For script(): tells wait_for_command() that it runs, and does not end.
  std::string tell_and_hang() const {
    run_tool({"mkfifo", work.path("runs")});
    return "echo > " + work.path("runs") + "; sleep 1000";
  }
  void wait_for_command() const { run_tool({"timeout", "100", "cat", work.path("runs")}); }
  std::string usual_command() const {
    return "restore = [\"/bin/sh\", \"" + work.path("restore.sh") + "\", \"{file}\"]\n";
  }
  std::string section(const std::string& lines) const {
    return "[[inbox]]\npath = \"" + folder + "\"\ndocker = \"unix://" + docker.socket() +
           "\"\nsettle = \"100ms\"\n" + lines;
  }
  void write_config(const std::string& sections) const {
    write_file(work.path("holdfast.toml"),
               "[[watch]]\nname = \"data\"\npath = \"" + data + "\"\n" + sections);
  }
  void start() { holdfast.start({"--config", work.path("holdfast.toml")}); }
  void start_usual(const std::string& lines = "stop = [\"web\", \"worker\"]\n") {
    write_config(section(usual_command() + lines));
    start();
  }
  std::string in(const std::string& name) const { return folder + "/" + name; }
  std::string done(const std::string& name) const { return folder + "/done/" + name; }
  std::string failed(const std::string& name) const { return folder + "/failed/" + name; }
  // As an upload does it: under a name that is not taken, then renamed.
  void drop(const std::string& name, const std::string& bytes) const {
    write_file(in(".upload"), bytes);
    rename_path(in(".upload"), in(name));
  }
  void wait_for(const std::string& words) {
    const bool told = holdfast.service().wait_for_error(words, 60'000);
    INFO("waiting for: " << words << "\nthe service's log: " << holdfast.service().error_output());
    REQUIRE(told);
  }
  void wait_restored(const std::string& name) { wait_for(name + " restored"); }
  void wait_failed(const std::string& name) { wait_for(name + " failed"); }
  std::string got() const { return exists(work.path("got")) ? read_file(work.path("got")) : ""; }
  TestJson status() const { return holdfast.json({"status"}).at("inboxes").at(0); }
  std::vector<TestJson> notes() const { return holdfast.lines({"log", "--kind", "restore"}); }
};

using Calls = std::vector<std::string>;

}  // namespace holdfast
