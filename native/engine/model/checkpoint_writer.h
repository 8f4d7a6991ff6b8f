// Writes the weights of a model directory in Hugging Face's form.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "model/safetensors_writer.h"
#include "model/tensors.h"

namespace npr::model {

// As large as transformers' save_pretrained() lets a shard become.
constexpr uint64_t usual_shard_bytes = 5'000'000'000;

// bf16, tensor by tensor: one model.safetensors, or where that would be larger than `shard_bytes`, shards of up to that
// size with model.safetensors.index.json; a tensor is never split. Names appear once all is on the disk, the index
// last. Thread safety: one thread at a time.
class CheckpointWriter {
 public:
  // Every member throws Error(invalid_request) where a file can't be written; nothing is left behind then.
  CheckpointWriter(const std::filesystem::path& directory, std::span<const TensorSpec> tensors, uint64_t shard_bytes);

  // Appends row-major numbers: those of all tensors, in the order given, in pieces of one tensor each.
  void append(std::span<const uint16_t> numbers);
  // Once all came. Weights in another form (one file, or shards) that the directory had before are replaced.
  void finish();

 private:
  void open(size_t shard);
  std::string name(size_t shard) const;
  std::string index_text() const;

  std::filesystem::path directory_;
  std::vector<std::vector<StoredTensor>> shards_;
  std::vector<SafetensorsWriter> files_;  // begun so far; all but the last are finished
};

}  // namespace npr::model
