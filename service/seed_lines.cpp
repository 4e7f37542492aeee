#include "service/seed_lines.h"

#include <charconv>
#include <vector>

#include "base/path.h"

namespace holdfast {

namespace {

constexpr size_t kWords = 8;
constexpr size_t kHashDigits = 32;

template <class T>
bool number(std::string_view text, T& value) {
  const auto end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  return read.ec == std::errc() && read.ptr == end;
}

bool hash_of(std::string_view text, ContentHash& hash) {
  if (text.size() != kHashDigits) return false;
  for (size_t i = 0; i < hash.bytes.size(); ++i) {
    const auto end = text.data() + 2 * i + 2;
    const auto read = std::from_chars(text.data() + 2 * i, end, hash.bytes[i], 16);
    if (read.ec != std::errc() || read.ptr != end) return false;
  }
  return true;
}

Error bad_line(std::string_view line) {
  return make_error(ErrorCode::kFailed,
                    "the service sent what is no line of a baseline: " + display_path(line));
}

}  // namespace

std::string seed_dir_line(std::string_view path) { return "dir " + percent_encode(path) + "\n"; }

std::string seed_file_line(const SeedLine& line) {
  std::string text = std::to_string(static_cast<int>(line.stat.type));
  text += line.damaged ? " damaged " : line.doubtful ? " doubtful " : " - ";
  text += std::to_string(line.stat.size) + " " + std::to_string(line.stat.mtime_ns) + " " +
          std::to_string(line.stat.ctime_ns) + " " + std::to_string(line.stat.inode) + " ";
  text += line.value ? to_hex(line.value->hash.bytes.data(), line.value->hash.bytes.size()) : "-";
  return text + " " + percent_encode(line.name) + "\n";
}

Result<std::optional<SeedLine>> read_seed_line(std::string_view line, std::string& dir) {
  if (line.starts_with("dir ")) {
    TRY_ASSIGN(dir, percent_decode(line.substr(4)));
    return std::optional<SeedLine>();
  }
  std::string_view words[kWords];
  size_t count = 0;
  for (size_t at = 0; at <= line.size() && count < kWords; ++count) {
    const size_t end = std::min(line.find(' ', at), line.size());
    words[count] = line.substr(at, end - at);
    at = end + 1;
  }
  SeedLine read;
  int type = 0;
  if (count != kWords || !number(words[0], type) || type < 1 || type > 7 ||
      !number(words[2], read.stat.size) || !number(words[3], read.stat.mtime_ns) ||
      !number(words[4], read.stat.ctime_ns) || !number(words[5], read.stat.inode)) {
    return bad_line(line);
  }
  read.stat.type = static_cast<FileType>(type);
  read.damaged = words[1] == "damaged";
  read.doubtful = words[1] == "doubtful";
  if (words[6] != "-") {
    SeedValue value{read.stat.type, {}};
    if (!hash_of(words[6], value.hash)) return bad_line(line);
    read.value = value;
  }
  TRY_ASSIGN(read.name, percent_decode(words[7]));
  return std::optional<SeedLine>(std::move(read));
}

}  // namespace holdfast
