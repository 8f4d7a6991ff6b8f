// Writes one safetensors file, tensor by tensor, without holding it in memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/atomic_file.h"

namespace npr::model {

struct StoredTensor {
  std::string name;
  enum class Type { bf16, f32 } type;
  std::vector<uint64_t> shape;
  uint64_t bytes() const;
};

// Thread safety: one thread at a time.
class SafetensorsWriter {
 public:
  // Begins the file with the header for `tensors`; neither names nor metadata hold what JSON would escape. Throws
  // Error(invalid_request) where the file can't be written, as every member does; nothing is left of it then.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                    const std::map<std::string, std::string>& metadata);

  // Appends row-major numbers: those of all tensors, in the order given, whatever the pieces they come in.
  void append(std::span<const std::byte> numbers);
  // Bytes that are still to come.
  uint64_t missing() const { return missing_; }
  // Once all came: brings them to the disk.
  void finish();
  // Gives the finished file its name.
  void publish() { file_.publish(); }

 private:
  AtomicFile file_;
  uint64_t missing_ = 0;
};

}  // namespace npr::model
