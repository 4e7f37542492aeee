#include "base/types.h"

#include <sys/stat.h>

namespace holdfast {

const char* file_type_name(FileType type) {
  switch (type) {
    case FileType::kFile: return "file";
    case FileType::kDir: return "dir";
    case FileType::kSymlink: return "symlink";
    case FileType::kFifo: return "fifo";
    case FileType::kSocket: return "socket";
    case FileType::kChar: return "char";
    case FileType::kBlock: return "block";
  }
  return "unknown";
}

FileType file_type_of_mode(uint32_t st_mode) {
  switch (st_mode & S_IFMT) {
    case S_IFDIR: return FileType::kDir;
    case S_IFLNK: return FileType::kSymlink;
    case S_IFIFO: return FileType::kFifo;
    case S_IFSOCK: return FileType::kSocket;
    case S_IFCHR: return FileType::kChar;
    case S_IFBLK: return FileType::kBlock;
    default: return FileType::kFile;
  }
}

std::string to_hex(const uint8_t* bytes, size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(size * 2);
  for (size_t i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

}  // namespace holdfast
