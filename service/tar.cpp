#include "service/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/clock.h"
#include "base/path.h"

namespace holdfast {

namespace {

constexpr size_t kTarBytes = 64 * 1024;

// libarchive takes names for text of the locale: under "C" it would call every other one binary.
// Of the calling thread, for as long as it lives.
class Utf8Names {
 public:
  Utf8Names() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) before_ = ::uselocale(locale_);
  }
  ~Utf8Names() {
    if (locale_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(locale_);
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;

 private:
  locale_t locale_;
  locale_t before_ = nullptr;
};

struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using EntryPtr = std::unique_ptr<archive_entry, FreeEntry>;

std::string words_of(archive* handle) {
  const char* text = archive_error_string(handle);
  return text != nullptr ? text : "libarchive does not say why";
}

// libarchive puts a decimal point between the two numbers, and takes them apart there: of a time
// before 1970 the second one counts backwards in an archive, and forwards everywhere else. What is
// less than a second before is rounded, because there is no -0.
void set_mtime(archive_entry* entry, int64_t mtime_ns) {
  int64_t seconds = mtime_ns / kSecondNs, nanoseconds = mtime_ns % kSecondNs;
  if (nanoseconds < 0) {
    nanoseconds = seconds == 0 ? 0 : -nanoseconds;
    seconds = seconds == 0 ? -1 : seconds;
  }
  archive_entry_set_mtime(entry, seconds, static_cast<long>(nanoseconds));
}

int64_t mtime_of(archive_entry* entry) {
  const int64_t seconds = archive_entry_mtime(entry), nanoseconds = archive_entry_mtime_nsec(entry);
  return seconds * kSecondNs + (seconds < 0 ? -nanoseconds : nanoseconds);
}

}  // namespace

struct TarWriter::Impl {
  std::function<bool(std::string_view)> write;
  archive* handle = nullptr;
  bool refused = false;  // by `write`

  ~Impl() {
    if (handle == nullptr) return;
    // Without the end of the archive: who has not called finish() has not written it all. It is
    // closed nevertheless, because libarchive frees its buffer there and nowhere else.
    write = [](std::string_view) { return false; };
    archive_write_close(handle);
    archive_write_free(handle);
  }
  static la_ssize_t on_write(archive*, void* context, const void* bytes, size_t size) {
    auto& self = *static_cast<Impl*>(context);
    if (self.write({static_cast<const char*>(bytes), size})) return static_cast<la_ssize_t>(size);
    self.refused = true;
    return -1;
  }
  Status check(int code, const char* doing) {
    if (code == ARCHIVE_OK || code == ARCHIVE_WARN) return {};
    if (refused) return make_error(ErrorCode::kInterrupted, "interrupted");
    return make_error(ErrorCode::kFailed, std::string(doing) + ": " + words_of(handle));
  }
};

TarWriter::TarWriter() : impl_(std::make_unique<Impl>()) {}
TarWriter::~TarWriter() = default;

Result<std::unique_ptr<TarWriter>> TarWriter::create(std::function<bool(std::string_view)> write) {
  std::unique_ptr<TarWriter> writer(new TarWriter);
  Impl& impl = *writer->impl_;
  impl.write = std::move(write);
  impl.handle = archive_write_new();
  if (impl.handle == nullptr) return make_error(ErrorCode::kFailed, "starting a tar: no memory");
  TRY(impl.check(archive_write_set_format_pax(impl.handle), "starting a tar"));
  TRY(impl.check(archive_write_set_options(impl.handle, "xattrheader=SCHILY"), "starting a tar"));
  archive_write_set_bytes_per_block(impl.handle, kTarBytes);
  archive_write_set_bytes_in_last_block(impl.handle, 1);
  TRY(impl.check(archive_write_open(impl.handle, &impl, nullptr, Impl::on_write, nullptr),
                 "starting a tar"));
  return writer;
}

Status TarWriter::begin(const TarEntry& from) {
  if (from.type == FileType::kSocket) {
    return make_error(ErrorCode::kUnsupported, "a tar cannot hold a socket");
  }
  const Utf8Names utf8;
  const EntryPtr entry(archive_entry_new());
  if (!entry) return make_error(ErrorCode::kFailed, "writing a tar: no memory");
  archive_entry_copy_pathname(entry.get(), from.path.c_str());
  archive_entry_set_mode(entry.get(), from.stat.mode);
  archive_entry_set_uid(entry.get(), from.stat.uid);
  archive_entry_set_gid(entry.get(), from.stat.gid);
  const bool has_content = from.type == FileType::kFile && from.hardlink.empty();
  archive_entry_set_size(entry.get(), has_content ? static_cast<int64_t>(from.stat.size) : 0);
  set_mtime(entry.get(), from.stat.mtime_ns);
  if (from.type == FileType::kSymlink && from.hardlink.empty()) {
    archive_entry_copy_symlink(entry.get(), from.link_target.c_str());
  }
  if (!from.hardlink.empty()) archive_entry_copy_hardlink(entry.get(), from.hardlink.c_str());
  if (from.type == FileType::kChar || from.type == FileType::kBlock) {
    archive_entry_set_rdev(entry.get(), from.stat.rdev);
  }
  for (const Xattr& xattr : from.xattrs) {
    archive_entry_xattr_add_entry(entry.get(), xattr.name.c_str(), xattr.value.data(),
                                  xattr.value.size());
  }
  return impl_->check(archive_write_header(impl_->handle, entry.get()), "writing a tar");
}

Status TarWriter::data(std::string_view bytes) {
  while (!bytes.empty()) {
    const la_ssize_t put = archive_write_data(impl_->handle, bytes.data(), bytes.size());
    if (put <= 0) return impl_->check(ARCHIVE_FATAL, "writing a tar");
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

Status TarWriter::finish() {
  TRY(impl_->check(archive_write_close(impl_->handle), "ending a tar"));
  return {};
}

struct TarReader::Impl {
  Read read;
  archive* handle = nullptr;
  std::vector<char> buffer = std::vector<char>(kTarBytes);
  Status failed;       // of `read`
  std::string hole;    // zeros
  uint64_t at = 0;     // in the member
  uint64_t given = 0;  // to libarchive
  uint64_t zeros = 0;
  std::string_view held;
  bool ended = false;

  ~Impl() {
    if (handle != nullptr) archive_read_free(handle);
  }
  static la_ssize_t on_read(archive* handle, void* context, const void** bytes) {
    auto& self = *static_cast<Impl*>(context);
    auto got = self.read(self.buffer.data(), self.buffer.size());
    if (!got.ok()) {
      self.failed = got.error();
      archive_set_error(handle, EIO, "reading the archive failed");
      return -1;
    }
    *bytes = self.buffer.data();
    self.given += *got;
    return static_cast<la_ssize_t>(*got);
  }
  Status check(int code) {
    if (code == ARCHIVE_OK || code == ARCHIVE_WARN) return {};
    TRY(failed);
    return make_error(ErrorCode::kDamaged, "reading the tar: " + words_of(handle));
  }
};

TarReader::TarReader() : impl_(std::make_unique<Impl>()) {}
TarReader::~TarReader() = default;

Result<std::unique_ptr<TarReader>> TarReader::open(Read read, bool packed) {
  std::unique_ptr<TarReader> reader(new TarReader);
  Impl& impl = *reader->impl_;
  impl.read = std::move(read);
  impl.handle = archive_read_new();
  if (impl.handle == nullptr) return make_error(ErrorCode::kFailed, "reading a tar: no memory");
  archive_read_support_format_tar(impl.handle);
  archive_read_support_format_empty(impl.handle);
  if (packed) archive_read_support_filter_all(impl.handle);
  TRY(impl.check(archive_read_open(impl.handle, &impl, nullptr, Impl::on_read, nullptr)));
  return reader;
}

Result<std::optional<TarEntry>> TarReader::next() {
  const Utf8Names utf8;
  Impl& impl = *impl_;
  archive_entry* from = nullptr;
  const int code = archive_read_next_header(impl.handle, &from);
  if (code == ARCHIVE_EOF) return std::optional<TarEntry>();
  TRY(impl.check(code));
  impl.at = impl.zeros = 0;
  impl.held = {};
  impl.ended = false;
  TarEntry entry;
  const char* path = archive_entry_pathname(from);
  if (path == nullptr) {
    return make_error(ErrorCode::kDamaged, "reading the tar: a member has no name");
  }
  entry.path = path;
  entry.type = file_type_of_mode(archive_entry_filetype(from));
  entry.stat.mode = archive_entry_mode(from);
  entry.stat.uid = static_cast<uint32_t>(archive_entry_uid(from));
  entry.stat.gid = static_cast<uint32_t>(archive_entry_gid(from));
  entry.stat.size = static_cast<uint64_t>(std::max<int64_t>(archive_entry_size(from), 0));
  entry.stat.mtime_ns = mtime_of(from);
  entry.stat.ctime_ns = entry.stat.mtime_ns;
  if (const char* target = archive_entry_symlink(from)) entry.link_target = target;
  if (const char* other = archive_entry_hardlink(from)) entry.hardlink = other;
  if (entry.type == FileType::kChar || entry.type == FileType::kBlock) {
    entry.stat.rdev = archive_entry_rdev(from);
  }
  archive_entry_xattr_reset(from);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
    entry.xattrs.push_back({name, {static_cast<const char*>(value), size}});
  }
  return std::optional(std::move(entry));
}

Result<std::string_view> TarReader::data() {
  Impl& impl = *impl_;
  if (impl.zeros == 0 && impl.held.empty() && !impl.ended) {
    const void* bytes = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int code = archive_read_data_block(impl.handle, &bytes, &size, &offset);
    impl.ended = code == ARCHIVE_EOF;
    if (!impl.ended) TRY(impl.check(code));
    // At the end the offset is the member's size: it may have a hole there.
    if (static_cast<uint64_t>(offset) > impl.at)
      impl.zeros = static_cast<uint64_t>(offset) - impl.at;
    if (!impl.ended) impl.held = {static_cast<const char*>(bytes), size};
  }
  std::string_view out;
  if (impl.zeros > 0) {
    if (impl.hole.empty()) impl.hole.assign(kTarBytes, '\0');
    out = std::string_view(impl.hole).substr(0, std::min<uint64_t>(impl.zeros, kTarBytes));
    impl.zeros -= out.size();
  } else {
    out = std::exchange(impl.held, {});
  }
  impl.at += out.size();
  return out;
}

Status TarReader::finish() {
  Impl& impl = *impl_;
  for (bool more = true; more;) {
    TRY_ASSIGN(const size_t got, impl.read(impl.buffer.data(), impl.buffer.size()));
    impl.given += got;
    more = got > 0;
  }
  // The archive's end is a block of zeros, at least. libarchive takes the stream's end as well.
  constexpr uint64_t kTarBlockBytes = 512;
  if (impl.given >= position() + kTarBlockBytes) return {};
  return make_error(ErrorCode::kDamaged, "the tar lacks its end: it was cut off");
}

uint64_t TarReader::position() const {
  const la_int64_t at = archive_read_header_position(impl_->handle);
  return at > 0 ? static_cast<uint64_t>(at) : 0;
}

struct PackedReader::Impl {
  Read source;
  archive* handle = nullptr;
  std::vector<char> buffer = std::vector<char>(kTarBytes);
  Status failed;  // of `source`
  bool ended = false;

  ~Impl() {
    if (handle != nullptr) archive_read_free(handle);
  }
  static la_ssize_t on_read(archive* handle, void* context, const void** out) {
    auto& self = *static_cast<Impl*>(context);
    auto got = self.source(self.buffer.data(), self.buffer.size());
    if (!got.ok()) {
      self.failed = got.error();
      archive_set_error(handle, EIO, "reading");
      return -1;
    }
    *out = self.buffer.data();
    return static_cast<la_ssize_t>(*got);
  }
  Error error() const {
    if (!failed.ok()) return failed.error();
    return make_error(ErrorCode::kDamaged, "unpacking: " + words_of(handle));
  }
};

PackedReader::PackedReader() : impl_(std::make_unique<Impl>()) {}
PackedReader::~PackedReader() = default;

Result<std::unique_ptr<PackedReader>> PackedReader::open(StreamFilter filter, Read read) {
  std::unique_ptr<PackedReader> reader(new PackedReader);
  Impl& impl = *reader->impl_;
  impl.source = std::move(read);
  impl.handle = archive_read_new();
  if (impl.handle == nullptr) return make_error(ErrorCode::kFailed, "unpacking: no memory");
  switch (filter) {
    case StreamFilter::kZstd: archive_read_support_filter_zstd(impl.handle); break;
    case StreamFilter::kXz: archive_read_support_filter_xz(impl.handle); break;
    case StreamFilter::kBzip2: archive_read_support_filter_bzip2(impl.handle); break;
  }
  archive_read_support_format_raw(impl.handle);
  archive_read_support_format_empty(impl.handle);
  if (archive_read_open(impl.handle, &impl, nullptr, Impl::on_read, nullptr) != ARCHIVE_OK) {
    return impl.error();
  }
  archive_entry* entry = nullptr;
  const int code = archive_read_next_header(impl.handle, &entry);
  if (code != ARCHIVE_OK && code != ARCHIVE_EOF) return impl.error();
  impl.ended = code == ARCHIVE_EOF;
  return reader;
}

Result<size_t> PackedReader::read(char* out, size_t size) {
  Impl& impl = *impl_;
  if (impl.ended) return 0;
  const la_ssize_t got = archive_read_data(impl.handle, out, size);
  if (got < 0) return impl.error();
  impl.ended = got == 0;
  return static_cast<size_t>(got);
}

Status unpack_stream(StreamFilter filter, const std::function<Result<size_t>(char*, size_t)>& read,
                     const std::function<Status(std::string_view)>& write) {
  TRY_ASSIGN(const auto reader, PackedReader::open(filter, read));
  std::vector<char> buffer(kTarBytes);
  for (;;) {
    TRY_ASSIGN(const size_t got, reader->read(buffer.data(), buffer.size()));
    if (got == 0) return {};
    TRY(write({buffer.data(), got}));
  }
}

}  // namespace holdfast
