// Little-endian encoding for on-disk formats, and big-endian for keys that must sort.
//
// ByteWriter appends to a std::string it does not own. ByteReader reads a view and never past its
// end: a read beyond it yields zeros and sets failed(), so a decoder checks once, at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace holdfast {

static_assert(std::endian::native == std::endian::little,
              "formats are written for little-endian hosts");

template <class T>
void put_le(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof bytes);
}
template <class T>
void set_le(char* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <class T>
T get_le(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
// A number in groups of seven bits, the lowest first; all bytes but the last have their top bit
// set. 1 to 10 bytes, as few as it takes: each number has one form.
inline void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}
// `value` as its distance from `base`, whichever is larger: small where they are near each other.
// Any two numbers have one, since both ways wrap around.
inline uint64_t distance_of(int64_t value, int64_t base) {
  const uint64_t difference = static_cast<uint64_t>(value) - static_cast<uint64_t>(base);
  return (difference << 1) ^ (difference >> 63 != 0 ? ~uint64_t{0} : 0);
}
inline int64_t at_distance(uint64_t distance, int64_t base) {
  const uint64_t difference = (distance >> 1) ^ ((distance & 1) != 0 ? ~uint64_t{0} : 0);
  return static_cast<int64_t>(static_cast<uint64_t>(base) + difference);
}
inline void put_be64(std::string& out, uint64_t value) { put_le(out, __builtin_bswap64(value)); }
inline void put_be32(std::string& out, uint32_t value) { put_le(out, __builtin_bswap32(value)); }
inline uint64_t get_be64(const char* at) { return __builtin_bswap64(get_le<uint64_t>(at)); }
inline uint32_t get_be32(const char* at) { return __builtin_bswap32(get_le<uint32_t>(at)); }

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  template <class T>
  T le() {
    if (rest_.size() < sizeof(T)) {
      fail();
      return T{};
    }
    T value = get_le<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  // Fails on more bytes than the number takes, and on a number above `most`.
  uint64_t varint(uint64_t most = UINT64_MAX) {
    uint64_t value = 0;
    for (size_t i = 0; i < rest_.size() && i < 10; ++i) {
      const auto byte = static_cast<uint8_t>(rest_[i]);
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte >= 0x80) continue;
      if ((byte == 0 && i > 0) || (i == 9 && byte > 1) || value > most) break;
      rest_.remove_prefix(i + 1);
      return value;
    }
    fail();
    return 0;
  }
  std::string_view bytes(size_t size) {
    if (rest_.size() < size) {
      fail();
      return {};
    }
    std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  void copy_to(void* destination, size_t size) {
    std::string_view taken = bytes(size);
    if (taken.size() == size && size > 0) std::memcpy(destination, taken.data(), size);
  }
  size_t left() const { return rest_.size(); }
  bool failed() const { return failed_; }
  void fail() {
    failed_ = true;
    rest_ = {};
  }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace holdfast
