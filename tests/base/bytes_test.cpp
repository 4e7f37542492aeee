// Encoding and decoding of fixed-width integers, and a reader that cannot be led past its end.
#include <catch2/catch.hpp>
#include <string>

#include "base/bytes.h"

using namespace holdfast;
using namespace std::string_literals;

TEST_CASE("little-endian bytes", "[bytes]") {
  std::string out;
  put_le(out, uint8_t{0x01});
  put_le(out, uint16_t{0x0302});
  put_le(out, uint32_t{0x07060504});
  put_le(out, uint64_t{0x0f0e0d0c0b0a0908});
  CHECK(out == "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f");
  CHECK(get_le<uint32_t>(out.data() + 3) == 0x07060504u);
  set_le(out.data() + 3, uint32_t{0xffffffff});
  CHECK(get_le<uint64_t>(out.data()) == 0x08ffffffff030201u);
  out.clear();
  put_le(out, int32_t{-2});
  CHECK(out == "\xfe\xff\xff\xff");
}

TEST_CASE("big-endian bytes sort as the numbers do", "[bytes]") {
  const uint64_t numbers[] = {0, 1, 255, 256, 65535, 1u << 31, uint64_t{1} << 32, UINT64_MAX};
  std::string previous;
  for (const uint64_t number : numbers) {
    std::string key;
    put_be64(key, number);
    CHECK(get_be64(key.data()) == number);
    CHECK((previous.empty() || previous < key));
    previous = key;
  }
  std::string key;
  put_be32(key, 0x01020304);
  CHECK(key == "\x01\x02\x03\x04");
  CHECK(get_be32(key.data()) == 0x01020304);
}

TEST_CASE("a byte reader reads in order", "[bytes]") {
  ByteReader reader(
      "\x01\x02\x03"
      "abcdefg");
  CHECK(reader.le<uint8_t>() == 1);
  CHECK(reader.le<uint16_t>() == 0x0302);
  CHECK(reader.bytes(3) == "abc");
  char copied[2] = {};
  reader.copy_to(copied, 2);
  CHECK(std::string(copied, 2) == "de");
  CHECK(reader.left() == 2);
  CHECK(reader.bytes(0).empty());
  CHECK_FALSE(reader.failed());
}

TEST_CASE("a byte reader fails past the end, stays failed and yields zeros", "[bytes]") {
  ByteReader reader("abc");
  CHECK(reader.le<uint32_t>() == 0);
  CHECK(reader.failed());
  CHECK(reader.left() == 0);
  CHECK(reader.le<uint8_t>() == 0);  // although a byte would have been there
  CHECK(reader.bytes(1).empty());
  char untouched = 'x';
  reader.copy_to(&untouched, 1);
  CHECK(untouched == 'x');
  ByteReader huge("abc");
  CHECK(huge.bytes(SIZE_MAX).empty());
  CHECK(huge.failed());
  ByteReader empty("");
  CHECK(empty.bytes(0).empty());
  CHECK_FALSE(empty.failed());
}
