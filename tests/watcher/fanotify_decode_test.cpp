// The decoder of fanotify's bytes: what the kernel sends, and everything it never would.
#include <sys/fanotify.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "watcher/fanotify_decode.h"

using namespace holdfast;

namespace {

constexpr uint8_t kFid = 1, kDfidName = 2, kDfid = 3, kPidfd = 4, kOldName = 10, kNewName = 12;

// The name with as many NULs after it as the kernel adds; no name: none at all.
std::string info_bytes(uint8_t type, const std::string& handle, const std::string& name) {
  std::string body(8, '\7');  // fsid
  put_le(body, static_cast<uint32_t>(handle.size()));
  put_le(body, int32_t{1});
  body += handle;
  if (!name.empty()) body += name + '\0';
  while ((body.size() + 4) % 4 != 0) body += '\0';
  std::string out;
  put_le(out, type);
  put_le(out, uint8_t{0});
  put_le(out, static_cast<uint16_t>(body.size() + 4));
  return out + body;
}

std::string event_bytes(uint64_t mask, const std::string& infos) {
  std::string out;
  put_le(out, static_cast<uint32_t>(24 + infos.size()));
  put_le(out, uint8_t{3});
  put_le(out, uint8_t{0});
  put_le(out, uint16_t{24});
  put_le(out, mask);
  put_le(out, int32_t{-1});
  put_le(out, int32_t{4242});
  return out + infos;
}

std::string handle_of(const std::string& bytes) {
  std::string out;
  put_le(out, int32_t{1});
  return out + bytes;
}

struct Decoded {
  std::vector<FanotifyEvent> events;
  bool damaged = false;
};

Decoded decode(std::string_view bytes) {
  FanotifyDecoder decoder(bytes);
  Decoded result;
  while (const auto event = decoder.next()) result.events.push_back(*event);
  result.damaged = decoder.damaged();
  return result;
}

}  // namespace

TEST_CASE("fanotify events are decoded with their places", "[fanotify]") {
  const std::string longest(255, 'n');
  const std::string dir = "dirhandl", other = "another handle of 28 bytes!!", file = "filehand";
  const std::string bytes =
      event_bytes(FAN_CREATE | FAN_ONDIR,
                  info_bytes(kDfidName, dir, "sub") + info_bytes(kFid, file, "")) +
      event_bytes(FAN_RENAME, info_bytes(kOldName, dir, "a") + info_bytes(kNewName, other, "b") +
                                  info_bytes(kFid, file, "")) +
      event_bytes(FAN_ATTRIB, info_bytes(kFid, file, "")) +
      event_bytes(FAN_ATTRIB | FAN_ONDIR, info_bytes(kDfidName, dir, ".")) +
      event_bytes(FAN_DELETE, info_bytes(kDfidName, other, longest)) +
      event_bytes(FAN_Q_OVERFLOW, "") + event_bytes(FAN_ATTRIB, info_bytes(kDfid, dir, "")) +
      event_bytes(FAN_CREATE, std::string("\4\0\x08\0\1\2\3\4", 8) +
                                  info_bytes(kDfidName, dir, "new\nline \xff"));
  REQUIRE(kPidfd == 4);  // what the last event begins with: skipped
  const Decoded decoded = decode(bytes);
  REQUIRE_FALSE(decoded.damaged);
  REQUIRE(decoded.events.size() == 8);
  CHECK(decoded.events[0].mask == (FAN_CREATE | FAN_ONDIR));
  CHECK(decoded.events[0].place.handle == handle_of(dir));
  CHECK(decoded.events[0].place.name == "sub");
  CHECK_FALSE(decoded.events[0].from.told());
  CHECK(decoded.events[1].from.handle == handle_of(dir));
  CHECK(decoded.events[1].from.name == "a");
  CHECK(decoded.events[1].to.handle == handle_of(other));
  CHECK(decoded.events[1].to.name == "b");
  CHECK_FALSE(decoded.events[2].place.told());
  CHECK(decoded.events[3].place.name == ".");
  CHECK(decoded.events[4].place.name == longest);
  CHECK(decoded.events[5].mask == FAN_Q_OVERFLOW);
  CHECK_FALSE(decoded.events[5].place.told());
  CHECK(decoded.events[6].place.name == ".");
  CHECK(decoded.events[7].place.name == "new\nline \xff");
}

TEST_CASE("fanotify bytes cut anywhere yield only whole events", "[fanotify]") {
  const std::string first = event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", "first"));
  const std::string bytes =
      first + event_bytes(FAN_RENAME, info_bytes(kOldName, "12345678", "second") +
                                          info_bytes(kNewName, "12345678", "third"));
  for (size_t size = 0; size <= bytes.size(); ++size) {
    // A copy of exactly that size, so that the sanitizer sees a read past the end.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    const Decoded decoded = decode(std::string_view(cut.data(), cut.size()));
    const bool whole = size == 0 || size == first.size() || size == bytes.size();
    CAPTURE(size);
    CHECK(decoded.damaged == !whole);
    CHECK(decoded.events.size() == (size < first.size() ? 0u : size < bytes.size() ? 1u : 2u));
  }
}

TEST_CASE("inconsistent fanotify bytes are damage", "[fanotify]") {
  const std::string good = info_bytes(kDfidName, "12345678", "name");
  const auto with = [](std::string bytes, size_t at, char value) {
    bytes[at] = value;
    return bytes;
  };
  std::string no_end = info_bytes(kDfidName, "12345678", "abc");  // ends with its one NUL
  no_end.back() = 'd';
  struct Row {
    const char* what;
    std::string bytes;
  };
  const std::vector<Row> rows = {
      {"another version", with(event_bytes(FAN_CREATE, good), 4, 9)},
      {"metadata shorter than it is", with(event_bytes(FAN_CREATE, good), 6, 8)},
      {"metadata longer than the event", with(event_bytes(FAN_CREATE, good), 6, 127)},
      {"event longer than the bytes", with(event_bytes(FAN_CREATE, good), 0, 127)},
      {"event shorter than its metadata", with(event_bytes(FAN_CREATE, good), 0, 8)},
      {"an information record of no length", event_bytes(FAN_CREATE, with(good, 2, 0))},
      {"an information record beyond the event", event_bytes(FAN_CREATE, with(good, 2, 127))},
      {"a handle beyond its record", event_bytes(FAN_CREATE, with(good, 12, 100))},
      {"a huge handle", event_bytes(FAN_CREATE, with(good, 15, 127))},
      {"no handle", event_bytes(FAN_CREATE, with(good, 12, 0))},
      {"a name without an end", event_bytes(FAN_CREATE, no_end)},
      {"no name", event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", ""))},
      {"an empty name",
       event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", std::string(1, '\0')))},
      {"longer than any name",
       event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", std::string(256, 'n')))},
      {"a slash in the name", event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", "a/b"))},
      {"the directory above", event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", ".."))},
  };
  REQUIRE(decode(event_bytes(FAN_CREATE, good)).events.size() == 1);
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const Decoded decoded = decode(row.bytes);
    CHECK(decoded.damaged);
    CHECK(decoded.events.empty());
  }
}

TEST_CASE("nothing is decoded after fanotify's damage", "[fanotify]") {
  const std::string bytes = event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", "a/b")) +
                            event_bytes(FAN_CREATE, info_bytes(kDfidName, "12345678", "good"));
  FanotifyDecoder decoder(bytes);
  CHECK_FALSE(decoder.next());
  CHECK_FALSE(decoder.next());
  CHECK(decoder.damaged());
}
