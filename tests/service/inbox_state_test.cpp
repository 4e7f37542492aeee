#include "service/inbox_state.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {
InboxState example() {
  InboxState state;
  InboxJob& job = state.job.emplace();
  job.id = "00112233445566778899aabbccddeeff";
  job.inbox = "/restore/in box";
  job.name = std::string("a\n\xff{}\".sql");
  job.dev = ~0ull;
  job.inode = 12;
  job.size = 34;
  job.mtime_ns = -5;
  job.hash = "ab";
  job.uid = 1000;
  job.gid = 1001;
  job.phase = InboxPhase::kStopping;
  job.docker = "/run/docker.sock";
  job.containers = {"web", "db"};
  job.undumped = "app-db";
  job.filed_as = "a";
  job.undo = "holdfast restore";
  job.replaces = "/data/app.db";
  job.new_dev = 1;
  job.new_inode = 2;
  job.outcome = InboxOutcome::kDone;
  job.why = "because";
  job.log = "line\n\x01\n";
  state.last.push_back({"/in", "b", 1, 2, "cd", InboxOutcome::kSame, 3, "/in/done/b.log"});
  return state;
}
}  // namespace

TEST_CASE("the state of the inboxes comes back as it was written", "[inbox]") {
  for (const InboxState& state : {InboxState{}, example()}) {
    const std::string text = encode_inbox_state(state);
    const auto back = decode_inbox_state(text);
    REQUIRE(back);
    REQUIRE(*back == state);
  }
}

TEST_CASE("any byte that is not what was written makes the state of the inboxes damaged",
          "[inbox]") {
  const std::string text = encode_inbox_state(example());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    INFO("byte " << i);
    REQUIRE_FALSE(decode_inbox_state(other));
    REQUIRE_FALSE(decode_inbox_state(text.substr(0, i)));
  }
  REQUIRE_FALSE(decode_inbox_state(text + " "));
}

}  // namespace holdfast
