#include "tools/import.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/fd.h"
#include "base/path.h"
#include "service/api.h"
#include "service/words.h"
#include "tools/client.h"
#include "tools/dump.h"

namespace holdfast {

namespace {

constexpr int kExitLeftOut = 5;

class ArchiveBody final : public ApiBody {
 public:
  ArchiveBody(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Result<size_t> read(char* out, size_t size) override {
    for (;;) {
      if (Interrupts::noted()) return make_error(ErrorCode::kInterrupted, "interrupted");
      const ssize_t got = ::read(fd_ ? fd_.get() : STDIN_FILENO, out, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return errno_error(errno, "reading " + name_);
    }
  }

 private:
  const Fd fd_;  // none: standard input
  const std::string name_;
};

Result<std::shared_ptr<ApiBody>> open_archive(const std::string& file) {
  if (file != "-") {
    Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return errno_error(errno, "opening " + display_path(file));
    return std::shared_ptr<ApiBody>(
        std::make_shared<ArchiveBody>(std::move(fd), display_path(file)));
  }
  if (::isatty(STDIN_FILENO) != 0) {
    return make_error(ErrorCode::kUsage,
                      "a tar does not come from a terminal: name its file, or send it to standard "
                      "input, as in zcat backup.tgz | holdfast import backups");
  }
  return std::shared_ptr<ApiBody>(std::make_shared<ArchiveBody>(Fd(), "standard input"));
}

std::string count_of(uint64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

void print_imported(const Json& json, const std::string& name) {
  const auto number = [&](const char* key) { return json[key].get<uint64_t>(); };
  std::printf("imported %s as %s: %s, %s, %s, %s of it new; %s created, %s changed, %s deleted\n",
              name.c_str(), json["root"].get<std::string>().c_str(),
              count_of(number("files"), "file", "files").c_str(),
              count_of(number("dirs"), "directory", "directories").c_str(),
              words_for_bytes(number("bytes")).c_str(),
              words_for_bytes(number("new_bytes")).c_str(),
              std::to_string(number("created")).c_str(), std::to_string(number("changed")).c_str(),
              std::to_string(number("deleted")).c_str());
  if (number("stripped") > 0) {
    std::printf("left out by --strip: %s\n",
                count_of(number("stripped"), "member", "members").c_str());
  }
  std::printf("restore with: %s\n", json["restore"].get<std::string>().c_str());
}

void tell_left_out(const Json& json) {
  for (const Json& member : json["named"]) {
    std::fprintf(stderr, "holdfast: left out: %s: %s\n",
                 display_path(member["path"].get<std::string>()).c_str(),
                 display_text(member["why"].get<std::string>()).c_str());
  }
  const auto left_out = json["left_out"].get<uint64_t>();
  if (left_out > json["named"].size()) {
    std::fprintf(stderr, "holdfast: left out: %zu more\n",
                 static_cast<size_t>(left_out) - json["named"].size());
  }
}

}  // namespace

void add_import_command(CLI::App& app, ImportArguments& arguments) {
  auto* command =
      app.add_subcommand("import", "make a tar a moment of a root of its own")->fallthrough();
  command->add_option("NAME", arguments.root, "the root: its history is that of the archives")
      ->required();
  command->add_option("FILE", arguments.file,
                      "plain or packed with gzip, zstd, xz or bzip2; default: standard input");
  command->add_option("--strip", arguments.strip, "leave out so many first parts of each name");
  command->add_option("-m,--message", arguments.message, "what it is, for the snapshot");
  command->footer(
      "Examples:\n  holdfast import backups backup-2024-01-01.tgz -m 2024-01-01\n"
      "  ssh host tar c /srv | holdfast import host\n"
      "Exit code 5: some members could not be imported, each is named.");
  arguments.app = command;
}

int run_import(const ImportArguments& arguments, const ImportRun& how, Log& log) {
  const Interrupts interrupts;
  auto body = open_archive(arguments.file);
  if (!body.ok()) return report(body.error());
  ApiRequest request{"POST",
                     "/v1/import",
                     {{"root", arguments.root},
                      {"strip", std::to_string(arguments.strip)},
                      {"message", arguments.message}},
                     *body};
  Json answer;
  Session session(how.state_dir, log, true);
  auto status = session.run(request, false, [&](std::string_view line) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("snapshot")) answer = std::move(json);
  });
  if (Interrupts::noted() && answer.is_null()) {
    status = make_error(ErrorCode::kInterrupted,
                        "interrupted; nothing is journaled, unless "
                        "holdfast status says so");
  }
  if (!status.ok()) {
    const int code = report(status.error());
    return status.error().code == ErrorCode::kBusy ? 1 : code;  // the root is, and not the state
  }
  if (answer.is_null()) {
    return report(make_error(ErrorCode::kFailed, "the import was not answered"));
  }
  answer["restore"] = "holdfast --state " + shell_word(how.state_dir) + " restore " +
                      arguments.root + ": --at " + answer["snapshot"].get<std::string>() +
                      " --to DIR";
  tell_left_out(answer);
  if (how.json) {
    std::fputs(json_line(answer).c_str(), stdout);
  } else if (!how.quiet) {
    print_imported(answer, arguments.file == "-" ? "standard input" : display_path(arguments.file));
  }
  if (std::fflush(stdout) != 0) return 1;
  return answer["left_out"].get<uint64_t>() > 0 ? kExitLeftOut : 0;
}

}  // namespace holdfast
