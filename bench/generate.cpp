#include "bench/generate.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numbers>
#include <random>
#include <set>
#include <vector>

#include "base/fs.h"
#include "bench/process.h"

namespace holdfast::bench {

namespace {

using Random = std::mt19937_64;

// Of the standard library only the raw numbers are the same everywhere, its distributions are not.
double uniform(Random& random) { return static_cast<double>(random() >> 11) / 9007199254740992.0; }

constexpr size_t kWords = 20'000;

// Pseudo-words that occur as often as words do in texts (Zipf's law), so that they compress like
// text.
class Vocabulary {
 public:
  Vocabulary() {
    static constexpr const char* kSyllables[] = {"ba",  "den", "fi", "gor", "hu",  "ka",
                                                 "lin", "mo",  "na", "per", "qui", "ras",
                                                 "so",  "tul", "ve", "zan"};
    for (size_t i = 0; i < kWords; ++i) {
      std::string word;
      for (size_t rest = i + 1; rest > 0; rest /= 16) word += kSyllables[rest % 16];
      words_.push_back(std::move(word));
    }
  }
  // By the inverse of the distribution.
  const std::string& word(Random& random) const {
    const auto index = static_cast<size_t>(std::pow(double{kWords}, uniform(random))) - 1;
    return words_[std::min(index, kWords - 1)];
  }
  std::string text(Random& random, size_t bytes) const {
    std::string text;
    for (int words = 1; text.size() < bytes; ++words) {
      text += word(random);
      text += words % 12 == 0 ? ".\n" : " ";
    }
    text.resize(bytes);
    return text;
  }

 private:
  std::vector<std::string> words_;
};

Status write_file(const std::string& path, std::string_view bytes) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return errno_error(errno, "creating " + path);
  return write_full(fd.get(), bytes);
}

std::string noise(Random& random, size_t bytes) {
  std::string out((bytes + 7) / 8 * 8, '\0');
  for (size_t at = 0; at < out.size(); at += 8) {
    uint64_t word = random();
    for (size_t i = 0; i < 8; ++i, word >>= 8) out[at + i] = static_cast<char>(word);
  }
  out.resize(bytes);
  return out;
}

std::string in_hex(Random& random, size_t digits) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < digits; ++i) out += kDigits[random() >> 60];
  return out;
}

// The sqlite3 command-line tool at work on one database: what SQLite does to a file, SQLite does.
class Sqlite {
 public:
  explicit Sqlite(const std::string& path) {
    pipe_ = ::popen(("exec sqlite3 -bail -batch " + shell_word(path) + " >/dev/null").c_str(), "w");
    // Without a journal file beside the database, which would come and go in the same directory.
    run("PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;\n");
  }
  ~Sqlite() {
    if (pipe_ != nullptr) ::pclose(pipe_);
  }
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;
  void run(const std::string& sql) {
    if (pipe_ != nullptr) (void)std::fwrite(sql.data(), 1, sql.size(), pipe_);
  }
  Status finish() {
    if (pipe_ != nullptr && ::pclose(std::exchange(pipe_, nullptr)) == 0) return {};
    return make_error(ErrorCode::kFailed, "sqlite3 failed; is Debian's package sqlite3 installed?");
  }

 private:
  FILE* pipe_ = nullptr;
};

// Rows as those of an application's events: a key and a signature that do not compress, the rest
// does.
void insert_rows(Sqlite& sqlite, uint64_t begin, uint64_t end, Random& random) {
  constexpr uint64_t kRowsOfStatement = 100;
  const Vocabulary vocabulary;
  std::string sql;
  for (uint64_t id = begin; id < end; ++id) {
    const bool first = (id - begin) % kRowsOfStatement == 0;
    const std::string& word = vocabulary.word(random);
    const std::string& other = vocabulary.word(random);
    sql += first ? "INSERT INTO events VALUES" : ",";
    sql += "(" + std::to_string(id) + ",'" + in_hex(random, 32) + "','" + word + " " + other +
           "','" + word + "." + other + std::to_string(id % 9973) + "@example.org'," +
           std::to_string(random() % 6) + "," + std::to_string(1'700'000'000 + id * 3) + ",'" +
           vocabulary.text(random, 150 + random() % 200) + "',x'" + in_hex(random, 64) + "')";
    if ((id - begin) % kRowsOfStatement == kRowsOfStatement - 1 || id + 1 == end) {
      sqlite.run(sql + ";\n");
      sql.clear();
    }
  }
}

}  // namespace

Status make_text_tree(const std::string& dir, uint64_t files, uint64_t dirs) {
  const Vocabulary vocabulary;
  for (uint64_t i = 0; i < dirs; ++i) {
    Random random(1'000 + i);
    const std::string sub = dir + "/part" + std::to_string(i / 100) + "/folder" + std::to_string(i);
    TRY(make_directories(sub, 0755));
    for (uint64_t k = files * i / dirs; k < files * (i + 1) / dirs; ++k) {
      const std::string text = vocabulary.text(random, 1024 + random() % 3072);
      TRY(write_file(sub + "/note" + std::to_string(k) + ".txt", text));
    }
  }
  return {};
}

Status add_odd_files(const std::string& dir) {
  Random random(7);
  const std::string odd = dir + "/odd";
  TRY(make_directories(odd + "/empty directory", 0755));
  TRY(write_file(odd + "/empty", ""));
  TRY(write_file(odd + "/line\nfeed and \xff.txt", "a name is bytes\n"));
  TRY(write_file(odd + "/noise", noise(random, 6 * 1024 * 1024 + 1)));
  TRY(write_file(odd + "/text", Vocabulary().text(random, 300'000)));
  TRY(write_file(odd + "/sparse", "head"));
  const bool made = ::truncate((odd + "/sparse").c_str(), 3 << 20) == 0 &&
                    ::link((odd + "/text").c_str(), (odd + "/second name").c_str()) == 0 &&
                    ::symlink("text", (odd + "/symlink").c_str()) == 0 &&
                    ::symlink("nowhere", (odd + "/dangling").c_str()) == 0 &&
                    ::mkfifo((odd + "/fifo").c_str(), 0600) == 0 &&
                    ::chmod((odd + "/noise").c_str(), 0751) == 0;
  return made ? Status() : Status(errno_error(errno, "making the odd files in " + odd));
}

Result<std::string> unpack_linux(const std::string& archive, const std::string& dir) {
  TRY(make_directories(dir, 0755));
  TRY(run_command({"tar", "-C", dir, "-xf", archive}));
  TRY_ASSIGN(const Fd fd, open_directory(dir));
  TRY_ASSIGN(const auto names, list_names(fd.get()));
  if (names.size() != 1) return make_error(ErrorCode::kFailed, archive + " does not hold one tree");
  return dir + "/" + names.front();
}

// As people upload: the logarithm of the size is normal around 600 KB, from 20 KB to 20 MB.
Status make_uploads(const std::string& dir, uint64_t files) {
  static constexpr const char* kEndings[] = {"jpg", "mp4", "pdf.gz", "webp"};
  Random sizes(11);
  for (uint64_t i = 0; i < files;) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform(sizes)));
    const double normal = radius * std::cos(2 * std::numbers::pi * uniform(sizes));
    const double bytes = 600e3 * std::exp(1.35 * normal);
    if (bytes < 20e3 || bytes > 20e6) continue;
    const std::string sub = dir + "/" + std::to_string(i % 37);
    TRY(make_directories(sub, 0755));
    Random content(2'000 + i);
    TRY(write_file(sub + "/upload" + std::to_string(i) + "." + kEndings[i % 4],
                   noise(content, static_cast<size_t>(bytes))));
    ++i;
  }
  return {};
}

Status make_database(const std::string& path, uint64_t rows) {
  Random random(21);
  Sqlite sqlite(path);
  sqlite.run(
      "BEGIN; CREATE TABLE events(id INTEGER PRIMARY KEY, uid TEXT, name TEXT, email TEXT,"
      " status INTEGER, updated_at INTEGER, body TEXT, sig BLOB);\n");
  insert_rows(sqlite, 1, rows + 1, random);
  sqlite.run("CREATE INDEX by_email ON events(email); COMMIT;\n");
  return sqlite.finish();
}

Status update_rows(const std::string& path, uint64_t rows) {
  Random random(22);
  std::set<uint64_t> ids;
  while (ids.size() < rows / 100) ids.insert(1 + random() % rows);
  Sqlite sqlite(path);
  sqlite.run("BEGIN;\n");
  for (const uint64_t id : ids) {
    sqlite.run(
        "UPDATE events SET status = (status + 1) % 6, updated_at = updated_at + 86400"
        " WHERE id = " +
        std::to_string(id) + ";\n");
  }
  sqlite.run("COMMIT;\n");
  return sqlite.finish();
}

Status append_rows(const std::string& path, uint64_t rows) {
  Random random(23);
  Sqlite sqlite(path);
  sqlite.run("BEGIN;\n");
  insert_rows(sqlite, rows + 1, rows + 1 + rows / 98, random);
  sqlite.run("COMMIT;\n");
  return sqlite.finish();
}

}  // namespace holdfast::bench
