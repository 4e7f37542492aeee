// Seeding: an image's directory, a volume, and `seed` from one into the other.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/holdfast_run.h"

namespace holdfast {

struct Seeding {
  static constexpr int kConflicts = 3, kSomeFailed = 5;
  WorkDir work;
  std::string image, volume;
  Holdfast holdfast{work.path("state")};

  // With a service that watches the volume, or without any.
  explicit Seeding(bool service) : Seeding(service, "") {}
  Seeding(bool service, const std::string& other_volume)
      : image(work.make("image")), volume(other_volume.empty() ? work.make("data") : other_volume) {
    if (service) holdfast.start({"data=" + volume});
  }
  std::string in_image(const std::string& name) const { return image + "/" + name; }
  std::string in(const std::string& name) const { return volume + "/" + name; }
  void bring(const std::string& name, const std::string& bytes) const {
    write_file(in_image(name), bytes);
  }

  Outcome run(std::vector<std::string> args = {}) const {
    args.insert(args.begin(), {"seed", image, volume});
    return holdfast.run(args);
  }
  // What `seed --json` printed.
  TestJson seed(std::vector<std::string> args = {}, int expected = 0) const {
    args.insert(args.begin(), "--json");
    const Outcome outcome = run_json(args);
    INFO("seed said: " << outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == expected);
    const auto lines = parse_lines(outcome.out);
    REQUIRE(lines.size() == 1);
    return lines[0];
  }
  // The only thing that was done, or would be.
  std::string only_action(std::vector<std::string> args = {}, int expected = 0) const {
    const TestJson json = seed(std::move(args), expected);
    INFO(json.dump());
    REQUIRE(json.at("actions").size() <= 1);
    return json.at("actions").empty() ? "" : json.at("actions")[0].at("action");
  }

 private:
  Outcome run_json(std::vector<std::string> args) const {
    args.insert(args.begin() + 1, {"seed", image, volume});
    return holdfast.run(args);
  }
};

inline void touch(const std::string& path, int64_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

}  // namespace holdfast
