#include "watcher/watch_table.h"

#include <algorithm>

#include "base/result.h"

namespace holdfast {

namespace {
constexpr uint32_t kEmpty = UINT32_MAX;
constexpr size_t kNowhere = SIZE_MAX;
constexpr size_t kIndexSizeMin = 16;

// The finaliser of splitmix64 (Steele, Lea, Flood 2014): descriptors and node ids are both nearly
// sequential, and this spreads them evenly.
uint64_t mix(uint64_t key) {
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
  return key ^ (key >> 31);
}

uint64_t key_of_wd(int32_t wd) { return static_cast<uint32_t>(wd); }

// Doubling would waste up to half of the columns; a quarter is a fair price for fewer copies.
template <class T>
void reserve_for_one_more(std::vector<T>& column) {
  if (column.size() == column.capacity()) column.reserve(column.size() + column.size() / 4 + 16);
}
}  // namespace

uint64_t WatchTable::hash_of(By by, uint32_t entry) const {
  return mix(by == By::kWd ? key_of_wd(wds_[entry]) : dirs_[entry].value);
}

bool WatchTable::matches(By by, uint32_t entry, uint64_t key) const {
  return (by == By::kWd ? key_of_wd(wds_[entry]) : dirs_[entry].value) == key;
}

size_t WatchTable::find(By by, uint64_t key) const {
  const Index& table = index(by);
  if (table.empty()) return kNowhere;
  const size_t wrap = table.size() - 1;
  for (size_t at = mix(key) & wrap; table[at] != kEmpty; at = (at + 1) & wrap) {
    if (matches(by, table[at], key)) return at;
  }
  return kNowhere;
}

void WatchTable::place(By by, uint32_t entry) {
  Index& table = index(by);
  const size_t wrap = table.size() - 1;
  size_t at = hash_of(by, entry) & wrap;
  while (table[at] != kEmpty) at = (at + 1) & wrap;
  table[at] = entry;
}

// Closes the hole by moving later entries of the same run back (Knuth, volume 3, 6.4, algorithm R),
// so that no tombstones pile up while directories come and go for months.
void WatchTable::remove_at(By by, size_t position) {
  Index& table = index(by);
  const size_t wrap = table.size() - 1;
  size_t hole = position;
  for (size_t at = (hole + 1) & wrap; table[at] != kEmpty; at = (at + 1) & wrap) {
    const size_t home = hash_of(by, table[at]) & wrap;
    const bool may_move = ((at - home) & wrap) >= ((at - hole) & wrap);
    if (!may_move) continue;
    table[hole] = table[at];
    hole = at;
  }
  table[hole] = kEmpty;
}

void WatchTable::grow() {
  const size_t index_size = std::max(kIndexSizeMin, by_wd_.size() * 2);
  by_wd_.assign(index_size, kEmpty);
  by_dir_.assign(index_size, kEmpty);
  for (uint32_t entry = 0; entry < wds_.size(); ++entry) {
    place(By::kWd, entry);
    place(By::kDir, entry);
  }
}

void WatchTable::insert(int32_t wd, NodeId dir) {
  CHECK(wd >= 0 && !dir_of(wd) && !wd_of(dir));
  if ((wds_.size() + 1) * 5 > by_wd_.size() * 4) grow();  // at most four fifths full
  reserve_for_one_more(wds_);
  reserve_for_one_more(dirs_);
  const auto entry = static_cast<uint32_t>(wds_.size());
  wds_.push_back(wd);
  dirs_.push_back(dir);
  place(By::kWd, entry);
  place(By::kDir, entry);
}

std::optional<NodeId> WatchTable::dir_of(int32_t wd) const {
  const size_t at = find(By::kWd, key_of_wd(wd));
  if (at == kNowhere) return std::nullopt;
  return dirs_[by_wd_[at]];
}

std::optional<int32_t> WatchTable::wd_of(NodeId dir) const {
  const size_t at = find(By::kDir, dir.value);
  if (at == kNowhere) return std::nullopt;
  return wds_[by_dir_[at]];
}

void WatchTable::erase(int32_t wd) {
  const size_t at = find(By::kWd, key_of_wd(wd));
  if (at == kNowhere) return;
  const uint32_t entry = by_wd_[at];
  remove_at(By::kDir, find(By::kDir, dirs_[entry].value));
  remove_at(By::kWd, at);
  const auto last = static_cast<uint32_t>(wds_.size() - 1);
  if (entry !=
      last) {  // the last entry moves into the gap, so both tables must learn its new number
    by_wd_[find(By::kWd, key_of_wd(wds_[last]))] = entry;
    by_dir_[find(By::kDir, dirs_[last].value)] = entry;
    wds_[entry] = wds_[last];
    dirs_[entry] = dirs_[last];
  }
  wds_.pop_back();
  dirs_.pop_back();
}

size_t WatchTable::memory_bytes() const {
  return wds_.capacity() * sizeof(int32_t) + dirs_.capacity() * sizeof(NodeId) +
         (by_wd_.capacity() + by_dir_.capacity()) * sizeof(uint32_t);
}

}  // namespace holdfast
