// kill -9 at any moment: the service comes up again by itself, check finds nothing, and every
// moment that flush ever acknowledged is restored exactly as the tree was at that flush.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>

#include "tests/support/churn.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

struct Moment {
  uint64_t seq = 0;
  Tree tree;
};

// The newest moments, and a few of all that came before them.
class Acknowledged {
 public:
  explicit Acknowledged(unsigned seed) : random_(seed) {}
  void add(Moment moment) {
    newest_.push_back(std::move(moment));
    if (newest_.size() <= kNewest) return;
    ++aged_;
    if (older_.size() < kOlder) {
      older_.push_back(std::move(newest_.front()));
    } else if (const uint64_t at = random_() % aged_; at < kOlder) {
      older_[at] = std::move(newest_.front());
    }
    newest_.pop_front();
  }
  std::vector<const Moment*> all() const {
    std::vector<const Moment*> moments;
    for (const Moment& moment : older_) moments.push_back(&moment);
    for (const Moment& moment : newest_) moments.push_back(&moment);
    return moments;
  }

 private:
  static constexpr size_t kNewest = 5, kOlder = 4;
  std::mt19937_64 random_;
  std::deque<Moment> newest_;
  std::vector<Moment> older_;
  uint64_t aged_ = 0;
};

int kills_wanted() {
  const char* given = std::getenv("HOLDFAST_CRASH_KILLS");
  return given != nullptr ? std::max(1, std::atoi(given)) : 25;
}

}  // namespace

TEST_CASE("what flush acknowledged survives kill -9 at any moment", "[crash]") {
  const unsigned seed = announced_seed("crash");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(100);
  Holdfast holdfast(work.path("state"));
  BackgroundChurn background(std::move(churn));
  Acknowledged acknowledged(seed);

  const int kills = kills_wanted();
  for (int kill = 0; kill < kills; ++kill) {
    INFO("after " << kill << " kills");
    background.resume();  // also while the service starts
    holdfast.start({"data=" + root});
    // The kill falls into the first scan, into recovery's leftovers, or after some flushes.
    const uint64_t flushes = random() % 4;
    for (uint64_t i = 0; i < flushes; ++i) {
      background.wait_for_steps(random() % 60);
      background.pause();
      const uint64_t seq = holdfast.flush();
      background.flushed();
      acknowledged.add({seq, read_tree(root)});
      background.resume();
    }
    background.wait_for_steps(random() % 80);
    holdfast.kill();
    background.pause();

    holdfast.start({"data=" + root});
    holdfast.require_clean();
    for (const Moment* moment : acknowledged.all()) {
      holdfast.require_restores(work, moment->seq, moment->tree);
    }
    holdfast.kill();
  }
  holdfast.start({"data=" + root});
  const uint64_t last = holdfast.flush();
  holdfast.require_restores(work, last, read_tree(root));
  holdfast.require_clean(true);
  holdfast.stop();
}

}  // namespace holdfast
