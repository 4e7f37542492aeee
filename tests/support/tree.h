// Tree: everything about a directory tree that a restore has to bring back, as values: what is
// there, every attribute, the content's hash, and which names are the same file. Two of them are
// compared and the differences put into words.
//
// Reads through directory descriptors, so that names may be any bytes and paths longer than
// PATH_MAX.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace holdfast {

struct TreeEntry {
  uint32_t mode = 0;  // with the type bits
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;  // regular files and symlinks
  uint64_t rdev = 0;  // devices
  int64_t mtime_ns = 0;
  std::string target;   // symlinks
  std::string same_as;  // hard links: the first of the file's names in the tree
  std::map<std::string, std::string> xattrs;  // ACLs are system.posix_acl_*
  std::string hash;                           // regular files
  bool operator==(const TreeEntry&) const = default;
};

using Tree = std::map<std::string, TreeEntry>;  // by path relative to the root; "" is the root

// `ignored` names paths that are left out, with all below.
Tree read_tree(const std::string& root, const std::vector<std::string>& ignored = {});

// One line a difference, at most `lines_max`; empty where the trees are the same.
std::string differences(const Tree& expected, const Tree& found, size_t lines_max = 20);

// Blocks of 512 bytes that are allocated to a file: what tells whether holes are holes.
uint64_t blocks_of(const std::string& path);

}  // namespace holdfast
