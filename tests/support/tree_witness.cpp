#include "tests/support/tree_witness.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <climits>
#include <cstring>

namespace holdfast {

namespace {

constexpr uint64_t kChanges = FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_CREATE | FAN_DELETE |
                              FAN_MOVED_FROM | FAN_MOVED_TO | FAN_ONDIR;

struct NamedBit {
  uint64_t bit;
  const char* name;
};
constexpr NamedBit kNames[] = {
    {FAN_MODIFY, "modify"},     {FAN_CLOSE_WRITE, "close_write"}, {FAN_ATTRIB, "attrib"},
    {FAN_CREATE, "create"},     {FAN_DELETE, "delete"},           {FAN_MOVED_FROM, "moved_from"},
    {FAN_MOVED_TO, "moved_to"}, {FAN_ONDIR, "directory"},         {FAN_Q_OVERFLOW, "overflow"}};

}  // namespace

std::string WitnessedChange::text() const {
  std::string words = "pid " + std::to_string(pid) + ":";
  for (const NamedBit& named : kNames) {
    if ((mask & named.bit) != 0) words += std::string(" ") + named.name;
  }
  return words + " " + path;
}

TreeWitness::TreeWitness(const std::string& mount_path)
    : fan_(::fanotify_init(
          FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_UNLIMITED_QUEUE | FAN_NONBLOCK | FAN_CLOEXEC,
          O_RDONLY)),
      mount_(::open(mount_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  REQUIRE(fan_.valid());
  REQUIRE(mount_.valid());
  REQUIRE(::fanotify_mark(fan_.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kChanges, AT_FDCWD,
                          mount_path.c_str()) == 0);
}

// The directory by its handle, and the name in it.
std::string TreeWitness::name_of(const void* info) const {
  const auto* fid = static_cast<const fanotify_event_info_fid*>(info);
  // The handle's own bytes lie unaligned in the event.
  alignas(file_handle) char space[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  file_handle head;
  std::memcpy(&head, fid->handle, sizeof head);
  if (head.handle_bytes > MAX_HANDLE_SZ) return "?";
  std::memcpy(space, fid->handle, sizeof head + head.handle_bytes);
  const char* name = reinterpret_cast<const char*>(fid->handle) + sizeof head + head.handle_bytes;
  const bool named = fid->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME;
  const std::string last = named ? name : "";
  const Fd dir(
      ::open_by_handle_at(mount_.get(), reinterpret_cast<file_handle*>(space), O_PATH | O_CLOEXEC));
  if (!dir) return "(gone)/" + last;
  char path[PATH_MAX] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(dir.get());
  if (::readlink(link.c_str(), path, sizeof path - 1) < 0) return "?/" + last;
  return std::string(path) + "/" + last;
}

std::vector<WitnessedChange> TreeWitness::changes() {
  std::vector<WitnessedChange> all;
  alignas(fanotify_event_metadata) char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(fan_.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      REQUIRE((got == 0 || errno == EAGAIN));
      return all;
    }
    // Events follow each other at multiples of 4 bytes, so each head is copied out.
    fanotify_event_metadata event = {};
    for (const char *at = buffer, *end = buffer + got; at < end; at += event.event_len) {
      std::memcpy(&event, at, sizeof event);
      WitnessedChange change;
      change.mask = event.mask;
      change.pid = event.pid;
      if (event.event_len > event.metadata_len) change.path = name_of(at + event.metadata_len);
      all.push_back(std::move(change));
    }
  }
}

std::string TreeWitness::words() {
  std::string text;
  for (const WitnessedChange& change : changes()) text += change.text() + "\n";
  return text;
}

}  // namespace holdfast
