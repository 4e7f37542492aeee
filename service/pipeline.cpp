#include "service/pipeline.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>

#include "base/ignore.h"

namespace holdfast {

bool holds_cachedir_tag(int dir_fd) {
  auto fd = open_beneath(dir_fd, "CACHEDIR.TAG", O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return false;
  char head[64];
  auto size = pread_full(fd->get(), head, sizeof head, 0);
  return size.ok() && is_cachedir_tag({head, *size});
}

void Unknown::add(const std::string& name, const Error& error) {
  if (names.empty()) why = error.message;
  names.push_back(name);
}

bool Unknown::contains(const std::string& name) const {
  return std::binary_search(names.begin(), names.end(), name);
}

namespace {

Status list(ScanTask& task) {
  auto names = std::make_shared<NameList>();
  TRY(for_each_name(task.dir_fd->get(), [&](std::string_view name) { names->add(name); }));
  names->sort();
  task.cache_dir = names->contains("CACHEDIR.TAG") && holds_cachedir_tag(task.dir_fd->get());
  task.names = std::move(names);
  return {};
}

ScanResult scan(ScanTask task) {
  ScanResult result;
  if (!task.names) result.status = list(task);
  result.task = std::move(task);
  if (!result.status.ok()) return result;
  const int dir_fd = result.task.dir_fd->get();
  const NameList& names = *result.task.names;
  result.first = result.task.next;
  result.task.next = std::min(names.size(), result.first + kScanNamesMax);
  result.entries.reserve(result.task.next - result.first);
  for (size_t i = result.first; i < result.task.next; ++i) {
    std::string name(names[i]);
    auto st = statx_name(dir_fd, name);
    if (st.ok()) {
      result.entries.push_back({std::move(name), *st});
    } else if (st.error().code != ErrorCode::kNotFound) {
      result.unknown.add(name, st.error());
    }  // else it vanished since it was listed
  }
  if (!result.is_last()) return result;
  if (auto xattrs = read_xattrs_of_name(dir_fd, "."); xattrs.ok()) {
    for (auto& [name, value] : *xattrs)
      result.xattrs.push_back({std::move(name), std::move(value)});
  }
  // Last: a change of the directory during the scan then shows as a difference at the next look.
  auto self = statx_fd(dir_fd);
  if (self.ok()) {
    result.self = *self;
  } else {
    result.status = self.error();
  }
  return result;
}

}  // namespace

Pipeline::Pipeline(size_t workers, LmdbEnv& env, Store& store, std::function<void()> wake)
    : env_(env), store_(store), wake_(std::move(wake)) {
  for (size_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
}

Pipeline::~Pipeline() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    tasks_.clear();
    work_there_.notify_all();
    output_room_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool Pipeline::has_room() const {
  std::lock_guard lock(mutex_);
  return outstanding_ < kTasksMax;
}

size_t Pipeline::tasks_outstanding() const {
  std::lock_guard lock(mutex_);
  return outstanding_;
}

void Pipeline::submit(ScanTask task) {
  std::lock_guard lock(mutex_);
  // Scans go first, in their order: they find the work for everybody else.
  const auto behind = std::find_if(tasks_.begin(), tasks_.end(), [](const Task& other) {
    return !std::holds_alternative<ScanTask>(other);
  });
  tasks_.emplace(behind, std::move(task));
  ++outstanding_;
  work_there_.notify_one();
}

void Pipeline::submit(CaptureTask task) {
  std::lock_guard lock(mutex_);
  tasks_.emplace_back(std::move(task));
  ++outstanding_;
  work_there_.notify_one();
}

std::optional<PipelineOutput> Pipeline::try_take() {
  std::lock_guard lock(mutex_);
  if (outputs_.empty()) return std::nullopt;
  std::optional<PipelineOutput> output(std::move(outputs_.front().first));
  output_bytes_ -= outputs_.front().second;
  outputs_.pop_front();
  const auto* capture = std::get_if<CaptureOutput>(&*output);
  if (capture == nullptr || capture->finished) --outstanding_;
  output_room_.notify_all();
  return output;
}

void Pipeline::wait(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  output_there_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                         [&] { return !outputs_.empty(); });
}

void Pipeline::emit(PipelineOutput output, size_t bytes) {
  std::unique_lock lock(mutex_);
  output_room_.wait(lock, [&] {
    return stopping_ || outputs_.empty() || output_bytes_ + bytes <= kOutputBytesMax;
  });
  outputs_.emplace_back(std::move(output), bytes);
  output_bytes_ += bytes;
  const bool first = outputs_.size() == 1;
  output_there_.notify_all();
  lock.unlock();
  if (first && wake_) wake_();
}

bool Pipeline::offer_segment(Segment& segment) {
  std::lock_guard lock(mutex_);
  if (segments_.size() >= kSegmentsMax) return false;
  segments_.push_back(std::move(segment));
  work_there_.notify_one();
  return true;
}

bool Pipeline::take_segment(Segment& segment) {
  std::lock_guard lock(mutex_);
  if (segments_.empty()) return false;
  segment = std::move(segments_.front());
  segments_.pop_front();
  return true;
}

void Pipeline::work() {
  CaptureContext context;
  context.env = &env_;
  context.store = &store_;
  context.pending = &pending_;
  context.emit = [this](CaptureOutput output) {
    const size_t bytes = output.bytes();
    emit(std::move(output), bytes);
  };
  context.offer_segment = [this](Segment& segment) { return offer_segment(segment); };
  context.take_segment = [this](Segment& segment) { return take_segment(segment); };
  Capturer capturer(std::move(context));
  for (;;) {
    Segment segment;
    if (take_segment(segment)) {
      capturer.do_segment(segment);
      continue;
    }
    std::optional<Task> task;
    {
      std::unique_lock lock(mutex_);
      work_there_.wait(lock, [&] { return stopping_ || !tasks_.empty() || !segments_.empty(); });
      if (!segments_.empty()) continue;
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    if (auto* to_scan = std::get_if<ScanTask>(&*task)) {
      ScanResult result = scan(std::move(*to_scan));
      const size_t bytes = 256 + result.entries.size() * sizeof(ScanEntry);
      emit(std::move(result), bytes);
    } else {
      capturer.capture(std::get<CaptureTask>(*task));
    }
  }
}

}  // namespace holdfast
