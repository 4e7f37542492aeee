// The part of a restore that touches one object: content, metadata, special files. Thread-safe
// functions.
#pragma once

#include <string>

#include "base/fs.h"
#include "journal/record.h"
#include "service/restore.h"
#include "store/store.h"

namespace holdfast {

// Names of unfinished work; capture never takes them for a version of anything.
std::string temporary_name(uint64_t number);

// Writes the version's content to a new file `name` in the open directory, verified against its
// hash, with all metadata. On failure the file is removed again.
Status write_file(int dir_fd, const std::string& name, const Record& version, ChunkReader& reader);
// A symlink, FIFO, socket or device under a new name, with its metadata.
Status make_special(int dir_fd, const std::string& name, const Record& version);
// Owner, mode, xattrs, times of an open file or directory (times last).
Status set_metadata(int fd, const Record& version);
// Whether what is there has the version's metadata (as far as a restore sets it).
bool same_metadata(const StatxResult& st, const Record& version);
bool same_xattrs(int fd, const Record& version);
// Whether the regular file `name` has the version's content now, by reading it. An equal hash is
// not enough: it can be crafted, so that the bytes are compared too, as far as the store has them.
bool has_content(int dir_fd, const std::string& name, const Record& version, ChunkReader& reader);
// "stored: …" or "kept: the store was at its quota of 50 GB at …", of a file without content.
std::string why_not_stored(const Record& version);
// Whether a symlink, FIFO, socket or device is what the version says.
bool same_special(int dir_fd, const std::string& name, const StatxResult& live,
                  const Record& version);
// Removes a name and all below it, never following a link.
Status remove_tree(int dir_fd, const std::string& name, uint64_t& removed);

}  // namespace holdfast
