#include "service/disk_probe.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <optional>
#include <system_error>
#include <thread>

#include "service/words.h"

namespace holdfast {

namespace {

Result<Disk> look_at_disk(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno_error(errno, "looking at " + path);
  TRY_ASSIGN(const FreeSpace space, free_space(path));
  return Disk{st.st_dev, space};
}

}  // namespace

// Its thread has it as well, and may outlive the probe.
struct DiskProbe::Question {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Result<Disk>> answer;
};

DiskProbe::DiskProbe() : DiskProbe(look_at_disk) {}

std::shared_ptr<DiskProbe::Question> DiskProbe::question_of(const std::string& path) {
  const std::lock_guard lock(mutex_);
  auto& question = open_[path];
  if (question) {
    const std::lock_guard asked(question->mutex);
    if (!question->answer) return question;
  }
  question = std::make_shared<Question>();
  try {
    std::thread([question = question, ask = ask_, path] {
      Result<Disk> answer = ask(path);
      const std::lock_guard asked(question->mutex);
      question->answer = std::move(answer);
      question->answered.notify_all();
    }).detach();
  } catch (const std::system_error& error) {
    question->answer = make_error(ErrorCode::kFailed, std::string("a thread: ") + error.what());
  }
  return question;
}

std::vector<Result<Disk>> DiskProbe::ask_all(const std::vector<std::string>& paths,
                                             int64_t timeout_ns) {
  std::vector<std::shared_ptr<Question>> questions;
  questions.reserve(paths.size());
  for (const std::string& path : paths) questions.push_back(question_of(path));
  const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
  std::vector<Result<Disk>> answers;
  answers.reserve(paths.size());
  for (size_t i = 0; i < questions.size(); ++i) {
    Question& question = *questions[i];
    std::unique_lock lock(question.mutex);
    if (question.answered.wait_until(lock, until, [&] { return question.answer.has_value(); })) {
      answers.push_back(*question.answer);
    } else {
      answers.push_back(make_error(ErrorCode::kBusy, "the file system of " + paths[i] +
                                                         " does not answer within " +
                                                         words_for_duration(timeout_ns)));
    }
  }
  return answers;
}

}  // namespace holdfast
