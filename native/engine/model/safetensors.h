// Reader of the safetensors format: 8 bytes of header length (little endian), a JSON header, then the tensors' bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/file.h"

namespace npr::model {

// Row-major, little endian; its bytes lie in the mapped file, aligned to nothing.
struct Tensor {
  std::string name;
  std::string dtype;  // "BF16", "F32", ...
  std::vector<uint64_t> shape;
  std::span<const std::byte> bytes;
};

// "[512, 64]".
std::string shape_text(const std::vector<uint64_t>& shape);

// One safetensors file, its header checked against the file: known dtypes, sizes that are shape times dtype, ranges
// that cover the data from its first byte to its last without gap or overlap. Thread safety: immutable once made; any
// thread may read and release.
class SafetensorsFile {
 public:
  // Throws Error(invalid_checkpoint), naming the file, the tensor, what was expected and what was found.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<Tensor>& tensors() const { return tensors_; }  // in the order of their bytes
  // The strings of the header's __metadata__.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Gives the memory of a tensor's bytes back; reading them again reads the file again.
  void release(const Tensor& tensor) const { file_.release(tensor.bytes); }

 private:
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace npr::model
