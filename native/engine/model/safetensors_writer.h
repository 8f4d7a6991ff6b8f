// Writes one safetensors file, tensor by tensor, without holding it in memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <vector>

#include "model/tensors.h"

namespace npr::model {

// Thread safety: one thread at a time.
class SafetensorsWriter {
 public:
  // Creates the file and writes the header for `tensors`, all of them bf16. Throws Error(invalid_request) where the
  // file can't be written, as every member does.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors);

  // Appends row-major numbers: those of all tensors, in the order given, whatever the pieces they come in.
  void append(std::span<const uint16_t> numbers);
  // Throws also where fewer or more numbers came than the header says.
  void finish();

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  std::ofstream file_;
  uint64_t expected_ = 0, written_ = 0;  // bytes of data
};

}  // namespace npr::model
