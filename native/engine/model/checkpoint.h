// A model directory: its configuration and its weights, mapped from one safetensors file or from shards.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/safetensors.h"

namespace npr::model {

// Once constructed, it holds every tensor that the model needs, in the shape it needs, as BF16, F16 or F32, and none
// besides but: rotary inverse frequencies (config.json says what they are) and, where the embedding is also the head, a
// copy of it under the head's name.
// Thread safety: immutable once made; any thread may read and release.
class Checkpoint {
 public:
  // `model.safetensors` where there is one, else the shards of `model.safetensors.index.json`. Throws
  // Error(invalid_checkpoint), naming the file, the tensor, what was expected and what was found.
  explicit Checkpoint(const std::filesystem::path& directory);

  const Config& config() const { return config_; }
  // Bytes of the tensors that the model needs.
  uint64_t bytes() const;
  // One of model_tensors(config()).
  const Tensor& tensor(const std::string& name) const;
  // Throws where a value is NaN, infinite, or so large that it is infinite as bf16. Reads the whole tensor, so it is
  // for the moment at which the tensor is read anyway.
  void require_finite(const Tensor& tensor) const;
  // Gives the memory of the tensor's bytes back; reading them again reads the file again.
  void release(const Tensor& tensor) const;

 private:
  struct Entry {
    const Tensor* tensor;
    const SafetensorsFile* file;
  };

  void open_single(const std::filesystem::path& path);
  void open_shards(const std::filesystem::path& index);
  void add(const SafetensorsFile& file);
  void require_model_tensors(const std::filesystem::path& where);
  const Entry& entry(const std::string& name) const;

  Config config_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Entry> entries_;  // by tensor name
};

}  // namespace npr::model
