// Watched: a root with a service on it, and the questions that tests of what was seen ask.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/holdfast_run.h"

namespace holdfast {

struct Watched {
  WorkDir work;
  std::string root, outside;
  Holdfast holdfast{work.path("state")};
  uint64_t begin = 0;

  // An empty directory of its own, or one that is there and shall be watched. `outside` lies on the
  // same file system beside it.
  Watched() : root(work.make("data")), outside(work.make("outside")) { watch(); }
  explicit Watched(const std::string& existing_root)
      : root(existing_root), outside(work.make("outside")) {
    watch();
  }
  void watch() {
    holdfast.start({"data=" + root});
    begin = holdfast.flush();
  }
  std::string in(const std::string& name) const { return root + "/" + name; }
  std::string out(const std::string& name) const { return outside + "/" + name; }

  // Records of one kind since the last mark.
  std::vector<TestJson> records(const std::string& kind) const {
    std::vector<TestJson> found;
    for (TestJson& record : holdfast.lines({"log", "--since", at(begin), "--kind", kind})) {
      if (record.at("seq").get<uint64_t>() > begin) found.push_back(std::move(record));
    }
    return found;
  }
  void mark() { begin = holdfast.flush(); }
  // The newest moment must be the tree as it is.
  void require_present() { holdfast.require_restores(work, holdfast.flush(), read_tree(root)); }
  // What `path` was at a moment; now by default.
  std::string content(const std::string& path, uint64_t seq = 0) const {
    std::vector<std::string> args{"cat", "data:" + path};
    if (seq != 0) args.insert(args.end(), {"--at", at(seq)});
    return holdfast.text(args);
  }
  TestJson last_of(const std::string& path) const {
    return holdfast.lines({"history", "data:" + path}).back();
  }
};

inline bool has_flag(const TestJson& record, const std::string& flag) {
  const TestJson& flags = record.at("flags");
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

inline std::vector<std::string> paths_of(const std::vector<TestJson>& records) {
  std::vector<std::string> paths;
  for (const TestJson& record : records) paths.push_back(record.at("path").get<std::string>());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace holdfast
