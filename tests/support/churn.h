// Churn: random changes to a tree, as people and programs make them, repeatable by their seed.
//
// Looks at the live tree for what to change next, so it goes on whatever else happens there.
// Failures of single operations are no concern. The tree stays at a few hundred names and a few
// megabytes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace holdfast {

// HOLDFAST_TEST_SEED where that is set, else a new one; printed, so that a failure can be replayed.
unsigned announced_seed(const std::string& test);

class Churn {
 public:
  // `outside` is a directory on the same file system, for trees that move out and in again.
  Churn(std::string root, std::string outside, unsigned seed);
  void step();
  void steps(int count);
  // Everything so far has been flushed: see editable().
  void flushed() { fresh_links_.clear(); }

 private:
  struct Place {
    std::string path;  // absolute
    int depth = 0;
  };
  uint64_t pick(uint64_t below) { return random_() % below; }
  std::string content(size_t size_max);
  std::string name();
  Place dir();         // a random directory
  std::string file();  // a random regular file; "" where luck had none
  std::string entry(bool want_dir);
  // The kernel tells a change under the name alone that was used for it. Where that name is a hard
  // link which came after the last flush, and which may be gone again before anybody looks, no
  // watcher can know which file it was. (A scrub finds those.) All else has to be seen, and is not
  // spared.
  bool editable(const std::string& path) const;

  void create();
  void change_content();
  void replace();
  void rename_entry();
  void remove();
  void make_subtree();
  void move_out();
  void move_in();
  void note_links(const std::string& tree);
  void link();
  void attributes();
  void sparse_write();

  const std::string root_, outside_;
  std::mt19937_64 random_;
  uint64_t names_ = 0;
  std::vector<std::string> parked_;  // moved out, by name in outside_
  std::set<uint64_t> fresh_links_;   // inodes
};

// Churn on a thread of its own. It begins paused.
class BackgroundChurn {
 public:
  explicit BackgroundChurn(Churn churn);
  ~BackgroundChurn();
  BackgroundChurn(const BackgroundChurn&) = delete;
  BackgroundChurn& operator=(const BackgroundChurn&) = delete;
  void resume();
  void pause();                         // returns when no step is under way
  void flushed() { churn_.flushed(); }  // while it is paused
  // Waits until `count` more steps are done; must not be paused.
  void wait_for_steps(uint64_t count);

 private:
  void run();
  Churn churn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false, at_work_ = false, ending_ = false;
  uint64_t done_ = 0;
  std::thread thread_;  // last: it uses all the others
};

}  // namespace holdfast
