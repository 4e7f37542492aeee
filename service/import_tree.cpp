#include "service/import_tree.h"

#include <algorithm>

#include "base/path.h"

namespace holdfast {

namespace {

constexpr size_t kPathBytesMax = 64 * 1024;
// A record has room for a megabyte.
constexpr size_t kXattrBytesMax = 512 * 1024;
constexpr size_t kLinkTargetBytesMax = 64 * 1024;

Error no(const std::string& why) { return make_error(ErrorCode::kUsage, why); }

std::vector<Xattr> in_order(std::vector<Xattr> xattrs) {
  std::stable_sort(xattrs.begin(), xattrs.end(),
                   [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  std::vector<Xattr> once;
  for (Xattr& xattr : xattrs) {
    if (xattr.name.empty()) continue;
    if (!once.empty() && once.back().name == xattr.name) once.pop_back();  // the later one wins
    once.push_back(std::move(xattr));
  }
  return once;
}

Status check_sizes(const TarEntry& entry) {
  if (entry.link_target.size() > kLinkTargetBytesMax) {
    return no("its target is longer than 64 kB");
  }
  if (entry.type == FileType::kSymlink && entry.link_target.empty()) {
    return no("it is a symlink without a target");
  }
  size_t bytes = 0;
  for (const Xattr& xattr : entry.xattrs) bytes += xattr.name.size() + xattr.value.size();
  if (bytes > kXattrBytesMax) return no("its extended attributes have more than 512 kB");
  return {};
}

}  // namespace

Result<MemberName> member_name(std::string_view path, size_t strip) {
  if (path.size() > kPathBytesMax) return no("its name is longer than 64 kB");
  MemberName name;
  size_t parts = 0;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return no("its name has a \"..\", which leads out of where it is unpacked");
    if (!is_safe_name(part)) return no("a part of its name is longer than 255 bytes");
    if (++parts > strip) name.parts.emplace_back(part);
  }
  name.stripped = parts < strip;
  return name;
}

Result<ImportTree::Id> ImportTree::dir_above(const MemberName& name) {
  Id at = kRoot;
  size_t there = 0;  // looked through before anything is made
  for (; there + 1 < name.parts.size(); ++there) {
    const auto found = dirs_[at].names.find(name.parts[there]);
    if (found == dirs_[at].names.end()) break;
    if (!found->second.is_dir) {
      return no("it is below " + display_path(name.parts[there]) + ", which is no directory");
    }
    at = found->second.id;
  }
  for (; there + 1 < name.parts.size(); ++there) {
    const Id made = static_cast<Id>(dirs_.size());
    dirs_.emplace_back();
    dirs_[at].names[name.parts[there]] = {true, made};
    at = made;
  }
  return at;
}

void ImportTree::let_go(const Name& name) {
  if (!name.is_dir) {
    --items_[name.id].stat.nlink;
    return;
  }
  std::vector<Id> gone{name.id};
  while (!gone.empty()) {
    const Dir dir = std::move(dirs_[gone.back()]);
    gone.pop_back();
    for (const auto& [below, what] : dir.names) {
      if (what.is_dir) gone.push_back(what.id);
      if (!what.is_dir) --items_[what.id].stat.nlink;
    }
  }
}

Status ImportTree::put(const MemberName& name, Id item) {
  TRY_ASSIGN(const Id above, dir_above(name));
  const auto [place, is_new] = dirs_[above].names.try_emplace(name.parts.back());
  ++items_[item].stat.nlink;
  if (!is_new) let_go(place->second);
  place->second = {false, item};
  return {};
}

Status ImportTree::add(const MemberName& name, const TarEntry& entry, const ContentHash& hash,
                       const ContentRef& content) {
  TRY(check_sizes(entry));
  ImportItem item;
  item.type = entry.type;
  item.stat = entry.stat;
  item.stat.inode = 0;
  item.stat.btime_ns = 0;
  item.link_target = entry.type == FileType::kSymlink ? entry.link_target : "";
  item.xattrs = in_order(entry.xattrs);
  if (entry.type == FileType::kDir) {
    item.stat.nlink = 1;
    item.stat.size = 0;
    Id at = kRoot;
    if (!name.parts.empty()) {
      TRY_ASSIGN(const Id above, dir_above(name));
      const auto [place, is_new] = dirs_[above].names.try_emplace(name.parts.back());
      if (is_new || !place->second.is_dir) {
        if (!is_new) let_go(place->second);
        place->second = {true, static_cast<Id>(dirs_.size())};
        dirs_.emplace_back();
      }
      at = place->second.id;
    }
    dirs_[at].named = true;
    dirs_[at].self = std::move(item);
    return {};
  }
  if (name.parts.empty()) return no("it would be the root itself, and is no directory");
  item.stat.nlink = 0;
  if (entry.type == FileType::kFile) {
    item.hash = hash;
    item.content = content;
  } else {
    item.stat.size = item.link_target.size();
  }
  items_.push_back(std::move(item));
  auto put_there = put(name, static_cast<Id>(items_.size() - 1));
  if (!put_there.ok()) items_.pop_back();
  return put_there;
}

Status ImportTree::add_link(const MemberName& name, const MemberName& other) {
  if (name.parts.empty()) return no("it would be the root itself, and is no directory");
  const std::string missing = "it is a hard link to a name that the archive does not have before";
  Id at = kRoot;
  for (size_t i = 0; i < other.parts.size(); ++i) {
    const auto found = dirs_[at].names.find(other.parts[i]);
    if (found == dirs_[at].names.end()) return no(missing);
    if (i + 1 == other.parts.size()) {
      if (found->second.is_dir) return no("it is a hard link to a directory");
      return put(name, found->second.id);
    }
    if (!found->second.is_dir) return no(missing);
    at = found->second.id;
  }
  return no(missing);
}

}  // namespace holdfast
