#include "model/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "error.h"

namespace npr::model {

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  fd_ = open(partial().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("can't be created");
  exists_ = true;
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (exists_) unlink(partial().c_str());
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), exists_(std::exchange(other.exists_, false)) {}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("can't be written");
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::sync() {
  if (fsync(fd_) != 0) fail("can't be written");
  if (close(std::exchange(fd_, -1)) != 0) fail("can't be written");
}

void AtomicFile::publish() {
  ensure(fd_ < 0 && exists_, "a file is on the disk before it gets its name");
  if (std::rename(partial().c_str(), path_.c_str()) != 0) fail("can't be put in place");
  exists_ = false;
  // The name is on the disk when its folder is.
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int code = errno;
  if (fd >= 0) close(fd);
  errno = code;
  if (!synced) fail("can't be put in place");
}

void AtomicFile::fail(const char* what) const {
  const char* reason = std::strerror(errno);
  throw Error(ErrorCode::invalid_request, path_.string() + ": " + what + ": " + reason);
}

std::filesystem::path AtomicFile::partial() const {
  auto name = path_;
  name += ".partial";
  return name;
}

}  // namespace npr::model
