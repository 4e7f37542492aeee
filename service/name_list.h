// NameList: the names of one directory, sorted, in little more memory than their bytes: of a
// directory of a million files it is what a scan has to hold. A value that is filled, sorted and
// then only read; the names stay where they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace holdfast {

class NameList {
 public:
  void add(std::string_view name) {
    CHECK(name.size() < kBlockBytes / 2);
    if (blocks_.empty() || used_ + name.size() + 1 > kBlockBytes) {
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(kBlockBytes));
      used_ = 0;
    }
    char* const at = blocks_.back().get() + used_;
    std::memcpy(at, name.data(), name.size());
    at[name.size()] = '\0';
    places_.push_back(static_cast<uint32_t>((blocks_.size() - 1) * kBlockBytes + used_));
    used_ += name.size() + 1;
  }
  void sort() {
    places_.shrink_to_fit();
    std::sort(places_.begin(), places_.end(),
              [&](uint32_t a, uint32_t b) { return std::strcmp(text(a), text(b)) < 0; });
  }
  size_t size() const { return places_.size(); }
  std::string_view operator[](size_t index) const { return text(places_[index]); }
  bool contains(std::string_view name) const {  // once sorted
    const auto at = std::lower_bound(
        places_.begin(), places_.end(), name,
        [&](uint32_t a, std::string_view b) { return std::string_view(text(a)) < b; });
    return at != places_.end() && text(*at) == name;
  }

 private:
  static constexpr size_t kBlockBytes = 64 * 1024;  // 2^32 bytes of names in all
  const char* text(uint32_t place) const {
    return blocks_[place / kBlockBytes].get() + place % kBlockBytes;
  }
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::vector<uint32_t> places_;
  size_t used_ = 0;  // of the last block
};

}  // namespace holdfast
