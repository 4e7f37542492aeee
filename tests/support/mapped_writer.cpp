#include "tests/support/mapped_writer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

namespace holdfast {

namespace {

struct Request {
  char what;
  char byte;
  uint64_t offset;
};

// Only what is safe in a fork of a program with threads.
[[noreturn]] void serve(int socket, int fd, size_t size) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* mapping = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int answer = mapping == MAP_FAILED ? errno : 0;
  if (::write(socket, &answer, sizeof answer) != sizeof answer || answer != 0) ::_exit(1);
  Request request{};
  while (::read(socket, &request, sizeof request) == sizeof request) {
    answer = 0;
    if (request.what == 's') {
      static_cast<volatile char*>(mapping)[request.offset] = request.byte;
    } else if (request.what == 'm') {
      if (::msync(mapping, size, MS_SYNC) != 0) answer = errno;
    } else if (request.what == 'c') {
      if (::close(fd) != 0) answer = errno;
    } else if (request.what == 'u') {
      if (::munmap(mapping, size) != 0) answer = errno;
    }
    if (::write(socket, &answer, sizeof answer) != sizeof answer) break;
  }
  ::_exit(0);
}

void require_answer(int socket) {
  int answer = -1;
  REQUIRE(::read(socket, &answer, sizeof answer) == sizeof answer);
  INFO("the mapping process says: " << std::strerror(answer));
  REQUIRE(answer == 0);
}

}  // namespace

MappedWriter::MappedWriter(const std::string& path, size_t size) {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
  socket_ = Fd(pair[0]);
  Fd theirs(pair[1]);
  const Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(file.valid());
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(pair[0]);
    serve(theirs.get(), file.get(), size);
  }
  REQUIRE(pid_ > 0);
  theirs.reset();
  require_answer(socket_.get());
}

MappedWriter::~MappedWriter() {
  socket_.reset();  // its read ends
  ::waitpid(pid_, nullptr, 0);
}

void MappedWriter::ask(char what, uint64_t offset, char byte) {
  Request request{};
  request.what = what;
  request.byte = byte;
  request.offset = offset;
  REQUIRE(::write(socket_.get(), &request, sizeof request) == sizeof request);
  require_answer(socket_.get());
}

}  // namespace holdfast
