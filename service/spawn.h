// Spawn: how another program is started: posix_spawn with what it wants, freed in any case. One
// thread; run() once.
#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

using Environment = std::vector<std::pair<std::string, std::string>>;

// Both ends closed on exec.
struct Pipe {
  Fd read_end, write_end;
};
Result<Pipe> make_pipe();

class Spawn {
 public:
  // Until it is told otherwise it gets no input, our output, and no signal blocked.
  Spawn();
  ~Spawn();
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  void read_from(int fd);           // -1: /dev/null
  void write_to(int out, int err);  // -1: ours
  void discard_output();
  void into_group(pid_t group);  // 0: one of its own
  void block_signals();
  // `program` is looked up in PATH; no shell. Signals that we ignore are not ignored there. `added`
  // is put into our own environment, in the place of what has the same name.
  Result<pid_t> run(const std::string& program, const std::vector<std::string>& args,
                    const Environment& added);

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace holdfast
