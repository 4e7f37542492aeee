// The decoder of inotify's bytes: what the kernel sends, and everything it never would.
#include <sys/inotify.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "watcher/inotify_decode.h"

using namespace holdfast;

namespace {

std::string event_bytes(int32_t wd, uint32_t mask, uint32_t cookie, const std::string& name) {
  std::string out;
  const size_t padded = name.empty() ? 0 : (name.size() + 1 + 15) / 16 * 16;
  put_le(out, wd);
  put_le(out, mask);
  put_le(out, cookie);
  put_le(out, static_cast<uint32_t>(padded));
  out += name;
  out.append(padded - name.size(), '\0');
  return out;
}

struct Decoded {
  std::vector<InotifyEvent> events;
  bool damaged = false;
};

Decoded decode(std::string_view bytes) {
  InotifyDecoder decoder(bytes);
  Decoded result;
  while (const auto event = decoder.next()) result.events.push_back(*event);
  result.damaged = decoder.damaged();
  return result;
}

}  // namespace

TEST_CASE("inotify events are decoded in order, names without padding", "[inotify]") {
  const std::string long_name(255, 'n');
  const std::string bytes =
      event_bytes(1, IN_CREATE, 0, "a") +
      event_bytes(7, IN_MOVED_TO | IN_ISDIR, 42, "exactly15bytes!") +
      event_bytes(2, IN_ATTRIB | IN_ISDIR, 0, "") + event_bytes(3, IN_DELETE, 0, long_name) +
      event_bytes(-1, IN_Q_OVERFLOW, 0, "") + event_bytes(4, IN_CREATE, 0, "new\nline \xff");
  const Decoded decoded = decode(bytes);
  REQUIRE_FALSE(decoded.damaged);
  REQUIRE(decoded.events.size() == 6);
  CHECK(decoded.events[0].wd == 1);
  CHECK(decoded.events[0].mask == IN_CREATE);
  CHECK(decoded.events[0].name == "a");
  CHECK(decoded.events[1].cookie == 42);
  CHECK(decoded.events[1].name == "exactly15bytes!");
  CHECK(decoded.events[2].name.empty());
  CHECK(decoded.events[3].name == long_name);
  CHECK(decoded.events[4].wd == -1);
  CHECK(decoded.events[5].name == "new\nline \xff");
}

TEST_CASE("an empty inotify buffer holds no event and no damage", "[inotify]") {
  const Decoded decoded = decode("");
  CHECK(decoded.events.empty());
  CHECK_FALSE(decoded.damaged);
}

TEST_CASE("inotify bytes cut anywhere yield only whole events", "[inotify]") {
  const std::string first = event_bytes(1, IN_CREATE, 0, "first");
  const std::string bytes = first + event_bytes(2, IN_CREATE, 0, "second");
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

TEST_CASE("inconsistent inotify bytes are damage", "[inotify]") {
  const auto with_length = [](uint32_t length, const std::string& name) {
    std::string out;
    put_le(out, int32_t{1});
    put_le(out, uint32_t{IN_CREATE});
    put_le(out, uint32_t{0});
    put_le(out, length);
    return out + name;
  };
  struct Row {
    const char* what;
    std::string bytes;
  };
  const std::vector<Row> rows = {
      {"length beyond the end", with_length(32, std::string("a\0", 2))},
      {"huge length", with_length(UINT32_MAX, "")},
      {"huge aligned length", with_length(0xfffffff0u, "")},
      {"longer than any name", with_length(272, std::string(272, '\0'))},
      {"not a multiple of the header", with_length(8, std::string("a\0\0\0\0\0\0\0", 8))},
      {"no padding at all", with_length(16, std::string(16, 'a'))},
      {"bytes after the padding began",
       with_length(16, std::string("a\0b\0\0\0\0\0\0\0\0\0\0\0\0\0", 16))},
      {"a slash in the name", with_length(16, std::string("../etc\0\0\0\0\0\0\0\0\0\0", 16))},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const Decoded decoded = decode(row.bytes);
    CHECK(decoded.damaged);
    CHECK(decoded.events.empty());
  }
}

TEST_CASE("nothing is decoded after damage", "[inotify]") {
  const std::string bytes = event_bytes(1, IN_CREATE, 0, "x/y") + event_bytes(2, IN_CREATE, 0, "b");
  InotifyDecoder decoder(bytes);
  CHECK_FALSE(decoder.next());
  CHECK_FALSE(decoder.next());
  CHECK(decoder.damaged());
}
