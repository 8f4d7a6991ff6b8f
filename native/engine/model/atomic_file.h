// A file that appears under its name only once it is whole and on the disk.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace npr::model {

// Written as NAME.partial beside its place. Every member throws Error(invalid_request) where the system refuses, as
// with a full disk or a folder that can't be written to. Thread safety: one thread at a time.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  // What was not published is removed.
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::span<const std::byte> bytes);
  // Returns when every byte is on the disk; nothing may be written afterwards.
  void sync();
  // Gives the file its name, in place of the one that had it. After sync().
  void publish();

 private:
  [[noreturn]] void fail(const char* what) const;
  std::filesystem::path partial() const;

  std::filesystem::path path_;
  int fd_ = -1;          // until sync()
  bool exists_ = false;  // under the name of partial()
};

}  // namespace npr::model
