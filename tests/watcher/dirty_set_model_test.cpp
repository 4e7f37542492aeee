// DirtySet against a model: a plain list of what was added and not yet handed out.
//
// Checked after every step: nothing added is ever lost, nothing is handed out late, no name early,
// epochs never rise, memory stays bounded.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "test_seed.h"
#include "watcher/dirty_set.h"

using namespace holdfast;

namespace {

constexpr NodeId kRoot{1};

enum class Duty { kName, kAll, kRecursive, kSelf };

// Something that somebody must look at.
struct Obligation {
  Duty duty;
  NodeId dir;
  std::string name;
  uint64_t epoch;
  int64_t ready_ns;
  bool ignores_hold = false;
};

class Model {
 public:
  Model(unsigned seed, DirtySetLimits limits, uint64_t dirs, bool wide)
      : random_(seed), limits_(limits), dirs_(dirs) {
    for (uint64_t dir = 2; dir <= dirs; ++dir) {
      parents_[dir] = wide ? 1 + dir % 3 * (dir > 10) : 1 + below(dir - 1);
    }
    set_.emplace(kRoot, limits, [this](NodeId dir) { return NodeId{parents_[dir.value]}; });
  }

  void step() {
    const uint64_t what = below(100);
    if (what < 60) {
      add_hint();
    } else if (what < 65) {
      add_direct();
    } else if (what < 70) {
      hold();
    } else if (what < 71) {
      forget();
    } else if (what < 80) {
      now_ns_ += static_cast<int64_t>(below(60));
      epoch_ += below(2);
    } else if (what < 97) {
      take_one(below(20) == 0);
    } else if (what < 99) {
      take_until_empty();
    } else {
      check_next_due();
    }
    check_totals();
  }

  void finish() {
    while (set_->take(0, true, nullptr)) {
    }
    CHECK(set_->empty());
    CHECK(set_->size() == 0);
    CHECK_FALSE(set_->recursive_pending());
    CHECK_FALSE(set_->lowest_epoch());
    CHECK_FALSE(set_->next_due_ns());
  }
  uint64_t taken() const { return taken_; }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }
  NodeId any_dir() { return NodeId{1 + below(dirs_)}; }
  std::string any_name() { return "n" + std::to_string(below(6) == 0 ? below(1000) : below(8)); }
  int64_t held(NodeId dir, const std::string& name) const {
    const auto at = holds_.find({dir.value, name});
    return at == holds_.end() ? INT64_MIN : at->second;
  }

  void add_hint() {
    const std::string name = any_name();
    Hint hint;
    hint.dir = any_dir();
    const uint64_t kind = below(200);
    if (kind == 0) {
      hint.kind = HintKind::kOverflow;
      owe({Duty::kRecursive, kRoot, "", epoch_, now_ns_});
      owe({Duty::kSelf, kRoot, "", epoch_, now_ns_});
    } else if (kind < 10) {
      hint.kind = kind < 5 ? HintKind::kSelf : HintKind::kDirGone;
      owe({Duty::kSelf, hint.dir, "", epoch_, now_ns_});
    } else {
      constexpr unsigned kWhats[] = {kWhatCreated, kWhatModified,   kWhatClosed,
                                     kWhatRemoved, kWhatAttributes, kWhatCreated | kWhatMoved};
      hint.name = name;
      hint.what = static_cast<uint8_t>(kWhats[below(6)]);
      const bool waits = hint.what == kWhatCreated || hint.what == kWhatModified;
      const bool at_once = (hint.what & (kWhatRemoved | kWhatMoved)) != 0;
      int64_t ready = now_ns_ + (waits ? limits_.settle_ns : 0);
      if (!at_once) ready = std::max(ready, held(hint.dir, name));
      owe({Duty::kName, hint.dir, name, epoch_, ready, at_once});
    }
    set_->add(hint, epoch_, now_ns_);
  }

  void add_direct() {
    const NodeId dir = any_dir();
    const int64_t due = now_ns_ + static_cast<int64_t>(below(300));
    const uint64_t epoch = epoch_ > 3 ? epoch_ - below(3) : epoch_;
    switch (below(4)) {
      case 0: {
        const std::string name = any_name();
        owe({Duty::kName, dir, name, epoch, std::max(due, held(dir, name))});
        set_->add_name(dir, name, epoch, due);
        return;
      }
      case 1:
        owe({Duty::kSelf, dir, "", epoch, due});
        set_->add_self(dir, epoch, due);
        return;
      default: break;
    }
    const bool recursive = below(2) == 0;
    owe({recursive ? Duty::kRecursive : Duty::kAll, dir, "", epoch, due});
    set_->add_dir(dir, recursive, epoch, due);
  }

  void hold() {
    const NodeId dir = any_dir();
    const std::string name = any_name();
    const int64_t until = now_ns_ + static_cast<int64_t>(below(400));
    set_->hold(dir, name, until);
    holds_[{dir.value, name}] = until;
    for (auto* list : {&owed_, &stored_}) {
      for (Obligation& one : *list) {
        const bool same = one.duty == Duty::kName && one.dir == dir && one.name == name;
        if (same && !one.ignores_hold) one.ready_ns = std::max(one.ready_ns, until);
      }
    }
  }

  void forget() {
    const NodeId dir = any_dir();
    set_->forget(dir);
    std::erase_if(holds_, [&](const auto& hold) { return hold.first.first == dir.value; });
    std::erase_if(stored_, [&](const Obligation& one) { return one.dir == dir; });
    // What a collapse had moved up into it is gone with it, as the directories below are.
    std::erase_if(owed_, [&](const Obligation& one) { return below_dir(one.dir, dir); });
  }

  std::optional<DirtyDir> take_one(bool force) {
    const uint64_t blocked_modulo = below(3) == 0 ? 2 + below(3) : 0;
    const auto blocked = [&](NodeId dir) {
      return blocked_modulo != 0 && dir.value % blocked_modulo == 0;
    };
    const auto lowest_before = lowest_owed();
    const auto taken = set_->take(now_ns_, force, blocked);
    if (!taken) {
      check_nothing_late(blocked);
      return taken;
    }
    ++taken_;
    REQUIRE_FALSE(blocked(taken->dir));
    REQUIRE((taken->all || !taken->recursive));
    REQUIRE((!taken->all || taken->names.empty()));
    REQUIRE((taken->all || taken->self || !taken->names.empty()));
    if (lowest_before) {
      REQUIRE(std::min(taken->epoch, set_->lowest_epoch().value_or(UINT64_MAX)) <= *lowest_before);
    }
    if (!force) check_not_early(*taken);
    pay(*taken);
    return taken;
  }

  void take_until_empty() {
    while (const auto taken = set_->take(now_ns_, false, nullptr)) {
      check_not_early(*taken);
      pay(*taken);
    }
    check_nothing_late([](NodeId) { return false; });
  }

  void check_next_due() {
    const auto next = set_->next_due_ns();
    REQUIRE(next.has_value() == !set_->empty());
    if (!next || *next <= now_ns_) return;
    REQUIRE_FALSE(set_->take(*next - 1, false, nullptr));
    now_ns_ = *next;
    const auto taken = set_->take(now_ns_, false, nullptr);
    REQUIRE(taken);
    check_not_early(*taken);
    pay(*taken);
  }

  // A take() that found nothing must have been right. A look that a collapse moved up into a
  // blocked directory waits with it, so with blocking only the unblocked branches can be judged.
  void check_nothing_late(const std::function<bool(NodeId)>& blocked) {
    for (const Obligation& one : owed_) {
      bool branch_blocked = false;
      for (uint64_t dir = one.dir.value; dir != 0; dir = parents_[dir]) {
        branch_blocked = branch_blocked || blocked(NodeId{dir});
      }
      CAPTURE(one.dir.value, one.name, one.ready_ns, now_ns_);
      if (!branch_blocked) REQUIRE(one.ready_ns > now_ns_);
    }
  }

  void check_not_early(const DirtyDir& taken) {
    for (const std::string& name : taken.names) {
      CAPTURE(taken.dir.value, name, now_ns_);
      REQUIRE(std::any_of(stored_.begin(), stored_.end(), [&](const Obligation& one) {
        return one.duty == Duty::kName && one.dir == taken.dir && one.name == name &&
               one.ready_ns <= now_ns_;
      }));
    }
  }

  void check_totals() {
    const auto lowest = lowest_owed();
    if (lowest) {
      REQUIRE(set_->lowest_epoch());
      REQUIRE(*set_->lowest_epoch() <= *lowest);
    }
    REQUIRE(set_->empty() == (set_->size() == 0));
    REQUIRE(set_->empty() == !set_->next_due_ns());
    REQUIRE(set_->size() <= limits_.names_max + 3 * std::min(limits_.dirs_max, dirs_));
  }

  bool below_dir(NodeId dir, NodeId ancestor) {
    for (uint64_t at = dir.value; at != 0; at = parents_[at]) {
      if (at == ancestor.value) return true;
    }
    return false;
  }

  void owe(const Obligation& one) {
    owed_.push_back(one);
    stored_.push_back(one);
  }

  void pay(const DirtyDir& taken) {
    const std::set<std::string> names(taken.names.begin(), taken.names.end());
    const auto paid = [&](const Obligation& one) {
      if (one.dir != taken.dir) return false;
      switch (one.duty) {
        case Duty::kName: return taken.all || names.contains(one.name);
        case Duty::kAll: return taken.all;
        case Duty::kRecursive: return taken.recursive;
        case Duty::kSelf: return taken.self;
      }
      return false;
    };
    std::erase_if(stored_, paid);
    std::erase_if(owed_, [&](const Obligation& one) {
      if (taken.recursive && one.dir != taken.dir && below_dir(one.dir, taken.dir)) return true;
      return paid(one);
    });
  }

  std::optional<uint64_t> lowest_owed() const {
    std::optional<uint64_t> lowest;
    for (const Obligation& one : owed_) lowest = std::min(lowest.value_or(one.epoch), one.epoch);
    return lowest;
  }

  std::mt19937 random_;
  DirtySetLimits limits_;
  uint64_t dirs_;
  std::map<uint64_t, uint64_t> parents_;
  std::optional<DirtySet> set_;
  std::vector<Obligation> owed_;
  // The same, but a recursive look from above does not strike anything off: the set may still hold
  // it, and may look once more.
  std::vector<Obligation> stored_;
  std::map<std::pair<uint64_t, std::string>, int64_t> holds_;
  int64_t now_ns_ = 1000;
  uint64_t epoch_ = 1;
  uint64_t taken_ = 0;
};

}  // namespace

TEST_CASE("a dirty set loses nothing, whatever happens", "[dirty_set][model]") {
  const unsigned seed = test_seed();
  INFO("HOLDFAST_TEST_SEED=" << seed);
  struct Shape {
    const char* what;
    uint64_t dirs;
    size_t names_per_dir_max;
    size_t dirs_max;
    size_t names_max;
    bool wide;
  };
  const Shape shapes[] = {
      {"no collapse", 10, 2000, 1000, 100'000, false},
      {"names collapse", 5, 6, 1000, 100'000, false},
      {"names collapse over all", 20, 100, 1000, 30, false},
      {"directories collapse, deep", 200, 100, 12, 100'000, false},
      {"directories collapse, wide", 200, 100, 12, 100'000, true},
      {"everything collapses", 100, 3, 4, 10, false},
      {"one directory at most", 50, 3, 1, 10, false},
  };
  for (const Shape& shape : shapes) {
    CAPTURE(shape.what);
    DirtySetLimits limits;
    limits.names_per_dir_max = shape.names_per_dir_max;
    limits.dirs_max = shape.dirs_max;
    limits.names_max = shape.names_max;
    limits.settle_ns = 100;
    limits.holds_max = 1'000'000;
    Model model(seed, limits, shape.dirs, shape.wide);
    for (int step = 0; step < 6000; ++step) model.step();
    CHECK(model.taken() > 100);
    model.finish();
  }
}

TEST_CASE("a dirty set under a flood stays within its bounds", "[dirty_set]") {
  const unsigned seed = test_seed();
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937 random(seed);
  const DirtySetLimits limits;
  constexpr uint64_t kDirs = 100'000;
  uint64_t parent_calls = 0;
  DirtySet set(kRoot, limits, [&](NodeId dir) {
    ++parent_calls;
    return NodeId{dir.value / 8};
  });
  constexpr int kEvents = 300'000;
  size_t largest = 0;
  int64_t now_ns = 0;
  for (int i = 0; i < kEvents; ++i) {
    Hint hint;
    hint.dir = NodeId{1 + random() % kDirs};
    const std::string name = "file-" + std::to_string(random() % 1000);
    hint.name = name;
    hint.what = kWhatClosed;
    set.add(hint, static_cast<uint64_t>(i) + 1, now_ns += 1000);
    largest = std::max(largest, set.size());
    if (i % 4 == 0) set.take(now_ns, false, nullptr);
  }
  CHECK(largest <= limits.names_max + 3 * limits.dirs_max);
  CHECK(parent_calls < uint64_t{10} * kEvents);  // collapses are rare enough to be cheap
}
