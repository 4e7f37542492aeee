// ImportTree: the tree that the members of an archive make, as it stands when all of them have been
// read (docs/import.md): later ones win over earlier ones, hard links share what they lead to, and
// directories that no member names are there nevertheless. Pure, in memory: some 300 bytes for each
// name. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "journal/record.h"
#include "service/tar.h"

namespace holdfast {

// A member's name as a path below the root: without leading, doubled and trailing slashes and
// without ".", and without its first `strip` parts, as GNU tar takes them off.
struct MemberName {
  std::vector<std::string> parts;  // none: the root itself
  bool stripped = false;           // nothing is left of it
};
// kUsage, with why: a name that leads elsewhere, or that no file can have.
Result<MemberName> member_name(std::string_view path, size_t strip);

// What a name leads to.
struct ImportItem {
  FileType type = FileType::kFile;
  FileStat stat;  // nlink: of its names in the tree
  ContentHash hash;
  ContentRef content;
  std::string link_target;
  std::vector<Xattr> xattrs;  // sorted by name
};

class ImportTree {
 public:
  using Id = uint32_t;
  static constexpr Id kRoot = 0;
  struct Name {
    bool is_dir = false;
    Id id = 0;  // of a directory, or of an item
  };
  struct Dir {
    std::map<std::string, Name> names;
    bool named = false;  // by a member, so that `self` is known
    ImportItem self;
  };
  ImportTree() { dirs_.emplace_back(); }

  // kUsage, with why: it cannot be in this tree, and nothing has changed.
  Status add(const MemberName& name, const TarEntry& entry, const ContentHash& hash,
             const ContentRef& content);
  // `other` is the name that the archive calls it a link to.
  Status add_link(const MemberName& name, const MemberName& other);

  const Dir& dir(Id id) const { return dirs_[id]; }
  const ImportItem& item(Id id) const { return items_[id]; }
  bool empty() const { return dirs_[kRoot].names.empty() && !dirs_[kRoot].named; }

 private:
  Result<Id> dir_above(const MemberName& name);
  Status put(const MemberName& name, Id item);
  void let_go(const Name& name);

  std::deque<Dir> dirs_;  // one that was replaced stays, and nothing leads to it
  std::deque<ImportItem> items_;
};

}  // namespace holdfast
