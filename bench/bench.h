// What all parts of the benchmark share: the options, the trees, the states that hold them, fresh
// places to write to, and the report. One thread.
//
// All that is written goes to fresh places and is deleted at the end: ext4 creates files several
// times slower for a while after a large tree was removed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/peers.h"
#include "bench/report.h"

namespace holdfast::bench {

struct Options {
  std::string program, json_file, markdown_file, against_file, work;
  std::string archive = "/usr/src/linux-source-6.1.tar.xz";
  bool smoke = false, keep = false, peers = false;
  size_t pairs = 5, peer_pairs = 3, changes = 300;
  std::vector<std::string> only, trees;  // empty: all
  uint64_t many_files = 1'000'000;
  double storm_s = 5;
};

// A tree that is measured, and a state that holds it as soon as one was made.
struct Corpus {
  std::string name, path, state;
};

class Bench {
 public:
  Bench(Options options, std::string work);
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  const Options& options() const { return options_; }
  Report& report() { return report_; }
  const std::vector<Peer>& peers() const { return peers_; }
  std::string fresh(const std::string& name);  // a path that nobody has used

  // K, S, U, D: made when first asked for, and in the page cache then. "edited": a copy of K that
  // parts may change; the others stay as they are.
  Result<Corpus*> corpus(const std::string& name);
  Result<Corpus*> ingested(const std::string& name);  // with a state
  bool wants_tree(const std::string& name) const;     // by --trees
  uint64_t database_rows() const;                     // of D

  // A repository of the peer with the tree in it, labelled "first"; the last one that was kept, or
  // one that is made now.
  Result<std::string> repository(const Peer& peer, const Corpus& corpus);
  void keep_repository(const Peer& peer, const Corpus& corpus, const std::string& repository);

  // The program's arguments, with the state.
  std::vector<std::string> command(const std::string& state,
                                   const std::vector<std::string>& arguments) const;

 private:
  Status make(Corpus& corpus);

  const Options options_;
  const std::string work_;
  std::map<std::string, Corpus> corpora_;
  std::map<std::string, size_t> used_;  // names to how often they were asked for
  std::vector<Peer> peers_;
  std::map<std::string, std::string> repositories_;
  Report report_;
};

void say(const std::string& text);
// What is still to be written back is not to be paid for by the next measurement.
void settle();
// Now and not at the end, for what is large and of few files: their inodes are no burden.
void remove_early(const std::string& path);
Status warm(const std::string& tree);  // into the page cache
// A short wait, such as for memory to be at rest; none in a smoke run.
void pause(const Options& options, double seconds);

}  // namespace holdfast::bench
