#include "model/checkpoint_writer.h"

#include <cstdio>
#include <map>
#include <utility>

#include "error.h"

namespace npr::model {
namespace {

constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

// Groups tensors, in order, into files of at most `shard_bytes`, but for a tensor that is larger alone.
std::vector<std::vector<StoredTensor>> shards_of(std::span<const TensorSpec> tensors, uint64_t shard_bytes) {
  std::vector<std::vector<StoredTensor>> shards(1);
  uint64_t bytes = 0;
  for (const TensorSpec& spec : tensors) {
    StoredTensor tensor{spec.name, StoredTensor::Type::bf16, spec.shape};
    if (!shards.back().empty() && bytes + tensor.bytes() > shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += tensor.bytes();
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

}  // namespace

CheckpointWriter::CheckpointWriter(const std::filesystem::path& directory, std::span<const TensorSpec> tensors,
                                   uint64_t shard_bytes)
    : directory_(directory), shards_(shards_of(tensors, shard_bytes)) {
  files_.reserve(shards_.size());
  open(0);
}

void CheckpointWriter::open(size_t shard) {
  files_.emplace_back(directory_ / name(shard), shards_[shard], std::map<std::string, std::string>{{"format", "pt"}});
}

void CheckpointWriter::append(std::span<const uint16_t> numbers) {
  if (files_.back().missing() == 0) {
    ensure(files_.size() < shards_.size(), "no more numbers than the tensors have");
    files_.back().finish();
    open(files_.size());
  }
  files_.back().append(std::as_bytes(numbers));
}

void CheckpointWriter::finish() {
  ensure(files_.size() == shards_.size(), "as many numbers as the tensors have");
  files_.back().finish();
  if (files_.size() == 1) return files_.back().publish();  // readers prefer it to an index
  AtomicFile index(directory_ / index_name);
  index.write(std::as_bytes(std::span<const char>(index_text())));
  index.sync();
  for (SafetensorsWriter& file : files_) file.publish();
  index.publish();
  std::error_code absent;
  std::filesystem::remove(directory_ / single_name, absent);
}

std::string CheckpointWriter::name(size_t shard) const {
  if (shards_.size() == 1) return single_name;
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards_.size());
  return name;
}

std::string CheckpointWriter::index_text() const {
  std::string map;
  uint64_t bytes = 0;
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    for (const StoredTensor& tensor : shards_[shard]) {
      map += (map.empty() ? "\"" : ",\n\"") + tensor.name + "\": \"" + name(shard) + "\"";
      bytes += tensor.bytes();
    }
  }
  return "{\"metadata\": {\"total_size\": " + std::to_string(bytes) + "}, \"weight_map\": {\n" + map + "\n}}\n";
}

}  // namespace npr::model
