#include "base/lmdb_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/fs.h"
#include "base/map_fault.h"

namespace holdfast {

namespace {

constexpr int kMetaReadsMax = 20;
// Offsets and numbers of LMDB 0.9's mdb.c.
constexpr size_t kPageHeadBytes = 16;
constexpr size_t kNodeHeadBytes = 8;
constexpr size_t kTreeBytes = 48;
constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint32_t kVersion = 1;
constexpr uint64_t kNoPage = UINT64_MAX;
constexpr uint64_t kMetaPages = 2;
constexpr size_t kDepthMax = 32;
constexpr uint16_t kBranch = 1, kLeaf = 2, kOverflow = 4, kMeta = 8;  // flags of pages
constexpr uint16_t kBigData = 1, kSubData = 2;                        // flags of nodes
constexpr uint16_t kIntegerKeys = 8;                                  // flag of a tree
// Pages at the end may never have been written, if they were freed in the commit that took them.
constexpr uint64_t kUnwrittenPagesMax = 1 << 20;
constexpr int kFindingsMax = 100;

// MDB_db.
struct Tree {
  uint32_t pad = 0;
  uint16_t flags = 0, depth = 0;
  uint64_t branches = 0, leaves = 0, overflows = 0, entries = 0, root = kNoPage;
  static Tree decode(const char* at) {
    Tree tree;
    tree.pad = get_le<uint32_t>(at);
    tree.flags = get_le<uint16_t>(at + 4);
    tree.depth = get_le<uint16_t>(at + 6);
    tree.branches = get_le<uint64_t>(at + 8);
    tree.leaves = get_le<uint64_t>(at + 16);
    tree.overflows = get_le<uint64_t>(at + 24);
    tree.entries = get_le<uint64_t>(at + 32);
    tree.root = get_le<uint64_t>(at + 40);
    return tree;
  }
};

// MDB_meta.
struct Meta {
  uint64_t last_page = 0, txn = 0;
  Tree free, main;
};

struct Node {
  uint16_t offset = 0;  // in its page
  uint16_t flags = 0;
  uint32_t value_bytes = 0;  // of a leaf's
  uint64_t child = 0;        // of a branch's
  uint32_t bytes = 0;        // that it takes up in its page
  std::string_view key, value;
};

struct Bounds {
  std::optional<std::string_view> low, high;  // keys are at or above low, and below high
};

// One page of each level of the tree, kept from page to page: there are many.
struct Level {
  std::string buffer;
  std::vector<Node> nodes;  // into the buffer, or the map
};

class FileMap {
 public:
  FileMap(const std::string& path, int fd, uint64_t bytes)
      : at_(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0)), bytes_(bytes) {
    if (at_ != MAP_FAILED)
      fault_.emplace(path.substr(0, path.rfind('/')), reinterpret_cast<uintptr_t>(at_), bytes);
  }
  ~FileMap() {
    if (at_ != MAP_FAILED) ::munmap(at_, bytes_);
  }
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;
  const char* bytes() const { return at_ == MAP_FAILED ? nullptr : static_cast<const char*>(at_); }

 private:
  void* const at_;
  const uint64_t bytes_;
  std::optional<MapFault> fault_;
};

std::string page_word(uint64_t page) { return "page " + std::to_string(page); }

}  // namespace

class LmdbFile {
 public:
  LmdbFile(std::string path, LmdbDepth depth, LmdbAccess access,
           const std::function<void(const std::string&)>& report)
      : path_(std::move(path)), depth_(depth), access_(access), report_(report) {}
  Status run();

 private:
  struct Counts {
    uint64_t branches = 0, leaves = 0, overflows = 0, entries = 0;
  };
  // One tree while it is walked.
  struct Walk {
    std::string name;
    Tree tree;
    Counts counts;
    bool integer_keys = false;
    bool read_leaves = true;
    std::function<void(const Node&)> leaf;
  };

  void found(const std::string& what) {
    if (findings_++ < kFindingsMax) report_("the journal's file " + path_ + ": " + what);
  }
  Result<bool> read_metas();
  Result<std::optional<Meta>> read_meta(uint64_t page);
  Status walk_tree(Walk& walk);
  Status walk_page(Walk& walk, uint64_t page, size_t level, const Bounds& bounds);
  Status walk_branch(Walk& walk, const std::vector<Node>& nodes, size_t level,
                     const Bounds& bounds);
  Status walk_leaf(Walk& walk, const std::vector<Node>& nodes, const Bounds& bounds);
  Result<bool> take_overflow(Walk& walk, const Node& node);
  bool claim(uint64_t page, const std::string& whose);
  Result<bool> read_page(uint64_t page, std::string& bytes);
  Result<std::string_view> page_at(uint64_t page, std::string& buffer);
  bool parse_nodes(std::string_view bytes, uint64_t page, bool branch, std::vector<Node>& nodes);
  bool in_order(const Walk& walk, std::string_view a, std::string_view b) const;
  bool fills(size_t upper, size_t end, const std::vector<Node>& nodes);
  bool keys_in_place(const Walk& walk, const std::vector<Node>& nodes, bool branch,
                     const Bounds& bounds) const;
  void free_pages_of(const Node& node);

  const std::string path_;
  const LmdbDepth depth_;
  const LmdbAccess access_;
  const std::function<void(const std::string&)>& report_;
  int findings_ = 0;
  Fd fd_;
  std::unique_ptr<FileMap> map_;
  uint64_t page_bytes_ = 0, file_bytes_ = 0;
  Meta meta_;
  std::vector<bool> claimed_;
  std::array<Level, kDepthMax + 1> levels_;
  std::vector<uint32_t> node_bytes_;  // of the node that begins at twice the index; all 0 between
};

Status check_lmdb_file(const std::string& path, LmdbDepth depth,
                       const std::function<void(const std::string&)>& finding, LmdbAccess access) {
  return LmdbFile(path, depth, access, finding).run();
}

Status LmdbFile::run() {
  fd_ = Fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd_) return errno_error(errno, "opening " + path_);
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) return errno_error(errno, "looking at " + path_);
  if (!S_ISREG(st.st_mode)) {
    found("it is not a regular file");
    return {};
  }
  file_bytes_ = static_cast<uint64_t>(st.st_size);
  TRY_ASSIGN(const bool sound, read_metas());
  if (!sound) return {};
  if (access_ == LmdbAccess::kMap) {
    map_ = std::make_unique<FileMap>(path_, fd_.get(), file_bytes_);
  }
  claimed_.assign(meta_.last_page + 1, false);
  claimed_[0] = claimed_[1] = true;
  Walk free{"the list of free pages", meta_.free, {}, true, true, {}};
  free.leaf = [&](const Node& node) { free_pages_of(node); };
  TRY(walk_tree(free));
  std::vector<Walk> tables;
  Walk main{"the list of tables", meta_.main, {}, false, true, {}};
  main.leaf = [&](const Node& node) {
    if (node.flags != kSubData || node.value.size() != kTreeBytes) {
      found("the list of tables has an entry that is no table");
      return;
    }
    tables.push_back({"table " + std::string(node.key),
                      Tree::decode(node.value.data()),
                      {},
                      false,
                      depth_ == LmdbDepth::kAll,
                      {}});
  };
  TRY(walk_tree(main));
  for (Walk& table : tables) {
    if (table.tree.flags != 0 || table.tree.pad != 0) found(table.name + " has unknown flags");
    TRY(walk_tree(table));
  }
  if (depth_ != LmdbDepth::kAll || findings_ > 0) return {};
  for (uint64_t page = 0; page <= meta_.last_page; ++page) {
    if (!claimed_[page]) found(page_word(page) + " belongs to nothing, and is not free either");
  }
  return {};
}

// The newest commit is in the one with the higher number. A commit that is under way writes into
// the other one.
Result<bool> LmdbFile::read_metas() {
  std::array<char, 4096> head;
  TRY_ASSIGN(const size_t got, pread_full(fd_.get(), head.data(), head.size(), 0));
  if (got < head.size()) {
    found("it has " + std::to_string(file_bytes_) + " bytes, and is no environment of LMDB");
    return false;
  }
  page_bytes_ = get_le<uint32_t>(head.data() + kPageHeadBytes + 24);
  if (page_bytes_ < 4096 || page_bytes_ > 65536 || (page_bytes_ & (page_bytes_ - 1)) != 0) {
    found("the first of its two head pages is damaged: pages of " + std::to_string(page_bytes_) +
          " bytes");
    return false;
  }
  TRY_ASSIGN(auto even, read_meta(0));
  TRY_ASSIGN(auto odd, read_meta(1));
  const auto follow = [&] {
    const bool fresh = even->txn == 0 && odd->txn == 0;
    const bool adjacent = even->txn + 1 == odd->txn || odd->txn + 1 == even->txn;
    return fresh || (adjacent && even->txn % 2 == 0);
  };
  // Others may have committed between the two.
  for (int i = 0; even && odd && !follow() && i < kMetaReadsMax; ++i) {
    TRY_ASSIGN(even, read_meta(0));
    TRY_ASSIGN(odd, read_meta(1));
  }
  if (!even || !odd) return false;
  if (!follow()) {
    found("its head pages are of commits " + std::to_string(even->txn) + " and " +
          std::to_string(odd->txn) + ", which do not follow each other");
    return false;
  }
  meta_ = even->txn > odd->txn ? *even : *odd;
  if (meta_.last_page + 1 < kMetaPages ||
      meta_.last_page > file_bytes_ / page_bytes_ + kUnwrittenPagesMax) {
    found("its head says that it has " + std::to_string(meta_.last_page + 1) + " pages, it has " +
          std::to_string(file_bytes_ / page_bytes_));
    return false;
  }
  return true;
}

Result<std::optional<Meta>> LmdbFile::read_meta(uint64_t page) {
  std::string bytes, again;
  TRY_ASSIGN(const bool whole, read_page(page, bytes));
  // Read while a commit writes it: what comes twice is whole.
  for (int i = 0; whole && bytes != again && i < 100; ++i) {
    again = bytes;
    TRY_ASSIGN(const bool still, read_page(page, bytes));
    if (!still) break;
  }
  if (!whole) return std::optional<Meta>();
  const char* at = bytes.data() + kPageHeadBytes;
  Meta meta;
  meta.free = Tree::decode(at + 24);
  meta.main = Tree::decode(at + 24 + kTreeBytes);
  meta.last_page = get_le<uint64_t>(at + 24 + 2 * kTreeBytes);
  meta.txn = get_le<uint64_t>(at + 32 + 2 * kTreeBytes);
  const bool sound = get_le<uint64_t>(bytes.data()) == page &&
                     get_le<uint16_t>(bytes.data() + 10) == kMeta &&
                     get_le<uint32_t>(at) == kMagic && get_le<uint32_t>(at + 4) == kVersion &&
                     get_le<uint64_t>(at + 8) == 0 && meta.free.pad == page_bytes_ &&
                     meta.free.flags == kIntegerKeys && meta.main.pad == 0 && meta.main.flags == 0;
  if (sound) return std::optional(meta);
  found(std::string("the ") + (page == 0 ? "first" : "second") +
        " of its two head pages is damaged");
  return std::optional<Meta>();
}

// False where the file ends before the page does.
Result<bool> LmdbFile::read_page(uint64_t page, std::string& bytes) {
  bytes.resize(page_bytes_);
  TRY_ASSIGN(const size_t got,
             pread_full(fd_.get(), bytes.data(), page_bytes_, page * page_bytes_));
  if (got == page_bytes_) return true;
  found("it ends before " + page_word(page) + ", which it needs");
  return false;
}

// The page's bytes, in the buffer or the map; none where the file ends before the page does.
Result<std::string_view> LmdbFile::page_at(uint64_t page, std::string& buffer) {
  if (map_ && map_->bytes() != nullptr && (page + 1) * page_bytes_ <= file_bytes_) {
    return std::string_view(map_->bytes() + page * page_bytes_, page_bytes_);
  }
  TRY_ASSIGN(const bool whole, read_page(page, buffer));
  return whole ? std::string_view(buffer) : std::string_view();
}

bool LmdbFile::claim(uint64_t page, const std::string& whose) {
  if (page < kMetaPages || page > meta_.last_page) {
    found(whose + " leads to " + page_word(page) + ", which is not there");
    return false;
  }
  if (claimed_[page]) {
    found(page_word(page) + ", of " + whose + ", is used twice");
    return false;
  }
  claimed_[page] = true;
  return true;
}

Status LmdbFile::walk_tree(Walk& walk) {
  const Tree& tree = walk.tree;
  if (tree.root == kNoPage) {
    if (tree.depth != 0 || tree.entries != 0 || tree.leaves != 0 || tree.branches != 0 ||
        tree.overflows != 0) {
      found(walk.name + " has no pages, and counts some");
    }
    return {};
  }
  if (tree.depth == 0 || tree.depth > kDepthMax) {
    found(walk.name + " has a depth of " + std::to_string(tree.depth));
    return {};
  }
  const int before = findings_;
  TRY(walk_page(walk, tree.root, tree.depth, {}));
  if (findings_ > before) return {};
  const bool counted = walk.read_leaves || depth_ == LmdbDepth::kAll;
  if (walk.counts.branches != tree.branches || walk.counts.leaves != tree.leaves ||
      (counted &&
       (walk.counts.entries != tree.entries || walk.counts.overflows != tree.overflows))) {
    found(walk.name + " counts " + std::to_string(tree.entries) + " entries in " +
          std::to_string(tree.branches) + " + " + std::to_string(tree.leaves) + " + " +
          std::to_string(tree.overflows) + " pages, there are others");
  }
  return {};
}

Status LmdbFile::walk_page(Walk& walk, uint64_t page, size_t level, const Bounds& bounds) {
  if (findings_ >= kFindingsMax || !claim(page, walk.name)) return {};
  const bool branch = level > 1;
  ++(branch ? walk.counts.branches : walk.counts.leaves);
  if (!branch && !walk.read_leaves) {
    if ((page + 1) * page_bytes_ <= file_bytes_) return {};
    found("it ends before " + page_word(page) + ", which it needs");
    return {};
  }
  auto& [buffer, nodes] = levels_[level];
  TRY_ASSIGN(const std::string_view bytes, page_at(page, buffer));
  if (bytes.empty()) return {};
  if (!parse_nodes(bytes, page, branch, nodes)) {
    found(page_word(page) + ", of " + walk.name + ", is damaged");
    return {};
  }
  if (!keys_in_place(walk, nodes, branch, bounds)) {
    found(page_word(page) + ", of " + walk.name + ", has a key out of place");
    return {};
  }
  return branch ? walk_branch(walk, nodes, level, bounds) : walk_leaf(walk, nodes, bounds);
}

bool LmdbFile::keys_in_place(const Walk& walk, const std::vector<Node>& nodes, bool branch,
                             const Bounds& bounds) const {
  const size_t first = branch ? 1 : 0;  // a branch's first stands for whatever is below the second
  if (nodes.size() <= first) return true;
  for (size_t i = first; walk.integer_keys && i < nodes.size(); ++i) {
    if (nodes[i].key.size() != 8) return false;
  }
  for (size_t i = first + 1; i < nodes.size(); ++i) {
    if (!in_order(walk, nodes[i - 1].key, nodes[i].key)) return false;
  }
  const std::string_view lowest = nodes[first].key, highest = nodes.back().key;
  const bool above = !bounds.low || *bounds.low == lowest || in_order(walk, *bounds.low, lowest);
  return above && (!bounds.high || in_order(walk, highest, *bounds.high));
}

Status LmdbFile::walk_branch(Walk& walk, const std::vector<Node>& nodes, size_t level,
                             const Bounds& bounds) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    Bounds below = bounds;
    if (i > 0) below.low = nodes[i].key;
    if (i + 1 < nodes.size()) below.high = nodes[i + 1].key;
    TRY(walk_page(walk, nodes[i].child, level - 1, below));
  }
  return {};
}

Status LmdbFile::walk_leaf(Walk& walk, const std::vector<Node>& nodes, const Bounds&) {
  for (const Node& node : nodes) {
    ++walk.counts.entries;
    if (walk.leaf && (node.flags & kBigData) == 0) walk.leaf(node);
    if ((node.flags & ~(kBigData | (walk.leaf ? kSubData : 0))) != 0) {
      found(walk.name + " has an entry with unknown flags");
    }
    if ((node.flags & kBigData) == 0) continue;
    TRY_ASSIGN(const bool sound, take_overflow(walk, node));
    if (!sound) return {};
  }
  return {};
}

// A value that is too long for its leaf stands in pages of its own, of which the first has a head.
Result<bool> LmdbFile::take_overflow(Walk& walk, const Node& node) {
  const auto first = get_le<uint64_t>(node.value.data());
  if (!claim(first, walk.name)) return false;
  std::string buffer;
  TRY_ASSIGN(const std::string_view bytes, page_at(first, buffer));
  if (bytes.empty()) return false;
  const auto pages = get_le<uint32_t>(bytes.data() + 12);
  const uint64_t needed = (kPageHeadBytes - 1 + node.value_bytes) / page_bytes_ + 1;
  if (get_le<uint64_t>(bytes.data()) != first || get_le<uint16_t>(bytes.data() + 10) != kOverflow ||
      pages < needed) {
    found(page_word(first) + ", of " + walk.name + ", is damaged");
    return false;
  }
  walk.counts.overflows += pages;
  for (uint32_t i = 1; i < pages; ++i) {
    if (!claim(first + i, walk.name)) return false;
  }
  if (first * page_bytes_ + kPageHeadBytes + node.value_bytes > file_bytes_) {
    found("it ends before " + page_word(first + pages - 1) + ", which it needs");
    return false;
  }
  if (!walk.leaf) return true;
  std::string value(node.value_bytes, '\0');
  TRY_ASSIGN(const size_t got, pread_full(fd_.get(), value.data(), value.size(),
                                          first * page_bytes_ + kPageHeadBytes));
  if (got < value.size()) return false;
  Node long_node = node;
  long_node.flags &= static_cast<uint16_t>(~kBigData);
  long_node.value = value;
  walk.leaf(long_node);
  return true;
}

bool LmdbFile::parse_nodes(std::string_view bytes, uint64_t page, bool branch,
                           std::vector<Node>& nodes) {
  const auto lower = get_le<uint16_t>(bytes.data() + 12);
  const auto upper = get_le<uint16_t>(bytes.data() + 14);
  if (get_le<uint64_t>(bytes.data()) != page ||
      get_le<uint16_t>(bytes.data() + 10) != (branch ? kBranch : kLeaf) ||
      lower < kPageHeadBytes + 2 || lower % 2 != 0 || lower > upper || upper > bytes.size()) {
    return false;
  }
  nodes.clear();
  for (size_t at = kPageHeadBytes; at < lower; at += 2) {
    Node node;
    node.offset = get_le<uint16_t>(bytes.data() + at);
    if (node.offset < upper || node.offset + kNodeHeadBytes > bytes.size()) return false;
    const char* head = bytes.data() + node.offset;
    const uint32_t low = get_le<uint16_t>(head), high = get_le<uint16_t>(head + 2);
    const auto flags = get_le<uint16_t>(head + 4);
    const size_t key_bytes = get_le<uint16_t>(head + 6);
    size_t size = kNodeHeadBytes + key_bytes;
    size_t value_bytes = 0;
    if (branch) {
      node.child = low | uint64_t{high} << 16 | uint64_t{flags} << 32;
    } else {
      node.flags = flags;
      node.value_bytes = low | high << 16;
      value_bytes = (flags & kBigData) != 0 ? sizeof(uint64_t) : node.value_bytes;
      size += value_bytes;
    }
    if (node.offset + size > bytes.size()) return false;
    node.key = std::string_view(head + kNodeHeadBytes, key_bytes);
    node.value = std::string_view(head + kNodeHeadBytes + key_bytes, value_bytes);
    node.bytes = static_cast<uint32_t>(size + size % 2);
    nodes.push_back(node);
  }
  return fills(upper, bytes.size(), nodes);
}

// They fill the page's upper part without a gap, in any order.
bool LmdbFile::fills(size_t upper, size_t end, const std::vector<Node>& nodes) {
  node_bytes_.resize(page_bytes_ / 2 + 1);
  bool sound = true;
  for (const Node& node : nodes) {
    uint32_t& bytes = node_bytes_[node.offset / 2];
    sound = sound && node.offset % 2 == 0 && bytes == 0;
    bytes = node.bytes;
  }
  size_t at = upper, count = 0;
  for (; sound && at % 2 == 0 && at < end && node_bytes_[at / 2] != 0; ++count) {
    at += node_bytes_[at / 2];
  }
  for (const Node& node : nodes) node_bytes_[node.offset / 2] = 0;
  return sound && at == end && count == nodes.size();
}

bool LmdbFile::in_order(const Walk& walk, std::string_view a, std::string_view b) const {
  if (!walk.integer_keys) return a < b;
  if (a.size() != 8 || b.size() != 8) return false;
  return get_le<uint64_t>(a.data()) < get_le<uint64_t>(b.data());
}

// The key is the commit that freed them, the value their number and then they, descending.
void LmdbFile::free_pages_of(const Node& node) {
  const std::string_view value = node.value;
  const uint64_t count = value.size() < 8 ? UINT64_MAX : get_le<uint64_t>(value.data());
  if (node.flags != 0 || value.size() % 8 != 0 || count > value.size() / 8 - 1 ||
      node.key.size() != 8 || get_le<uint64_t>(node.key.data()) > meta_.txn) {
    found("the list of free pages is damaged");
    return;
  }
  uint64_t before = kNoPage;
  for (uint64_t i = 1; i <= count; ++i) {
    const auto page = get_le<uint64_t>(value.data() + i * 8);
    if (page >= before || !claim(page, "the list of free pages")) {
      found("the list of free pages is damaged");
      return;
    }
    before = page;
  }
}

}  // namespace holdfast
