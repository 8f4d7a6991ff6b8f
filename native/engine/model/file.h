// Read-only files of a model directory: small ones read whole, weights mapped into memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace npr::model {

// The whole of a text file of at most `max_bytes` bytes. Throws Error(invalid_checkpoint).
std::string read_text(const std::filesystem::path& path, uint64_t max_bytes);

// A file mapped read-only. Its bytes are read from disk as they are touched; a file that is cut short while it is
// mapped ends the process (SIGBUS), as with every mapping. Thread safety: any thread may read and release.
class MappedFile {
 public:
  // Throws Error(invalid_checkpoint) where `path` is missing, unreadable or no regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  // Gives the memory of the pages that lie wholly in `part` back; reading them again reads the file again.
  void release(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace npr::model
