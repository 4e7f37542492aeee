#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/fs.h"

namespace holdfast {

TEST_CASE("a whole file is read up to its bound, whatever its size says") {
  char path[] = "/tmp/hf-whole-XXXXXX";
  const Fd file(::mkstemp(path));
  REQUIRE(file.valid());
  const size_t bound = 100'000;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16 * 1024}, size_t{40'000}, bound}) {
    std::string bytes(size, 'a');
    if (size > 0) bytes.back() = 'z';
    REQUIRE(write_file_durably(path, bytes, 0600).ok());
    const auto got = read_whole_file(path, bound);
    REQUIRE(got.ok());
    REQUIRE(*got == bytes);
  }
  REQUIRE(write_file_durably(path, std::string(bound + 1, 'a'), 0600).ok());
  REQUIRE_FALSE(read_whole_file(path, bound).ok());
  const auto status = read_whole_file("/proc/self/status", bound);  // says that it has 0 bytes
  REQUIRE(status.ok());
  REQUIRE(status->find("VmRSS") != std::string::npos);
  (void)std::remove(path);
}

}  // namespace holdfast
