#include "model/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "error.h"
#include "model/json.h"
#include "model/tensors.h"

namespace npr::model {
namespace {

constexpr uint64_t max_index_bytes = 64 << 20;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::invalid_checkpoint, path.string() + ": " + what);
}

// The tensors that an index file assigns to each shard.
std::map<std::string, std::set<std::string>> read_index(const std::filesystem::path& path) {
  const Json index = Json::parse(read_text(path, max_index_bytes), path.string());
  const Json* map = index.find("weight_map");
  if (!map || !map->is(Json::Kind::object) || map->members().empty())
    fail(path, "weight_map: expected an object of tensor and file names, found " +
                   (map ? map->describe() : std::string("no such key")));
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, file] : map->members()) {
    const std::string& name = file.string();
    // A file of this directory, never a path that leads out of it.
    if (!name.ends_with(".safetensors") || name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      fail(path, "weight_map: " + tensor + ": expected the name of a .safetensors file, found " + file.describe());
    shards[name].insert(tensor);
  }
  return shards;
}

bool is_rotary_buffer(const std::string& name) { return name.ends_with("rotary_emb.inv_freq"); }

// The largest magnitude among elements of sizeof(Bits) bytes, as the bits of a float format without its sign.
template <class Bits>
Bits largest_magnitude(std::span<const std::byte> bytes) {
  Bits largest = 0;
  // A maximum of signed numbers, without early exit, vectorizes on every machine: it runs at the speed of memory.
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i, sizeof bits);
    largest = std::max(largest, static_cast<Bits>(bits & std::numeric_limits<Bits>::max()));
  }
  return largest;
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& directory) {
  std::error_code unknown;  // what can't be told counts as absent
  if (!std::filesystem::is_directory(directory, unknown)) fail(directory, "expected a model directory");
  config_ = load_config(directory);
  const auto single = directory / "model.safetensors", index = directory / "model.safetensors.index.json";
  if (std::filesystem::exists(single, unknown)) {
    open_single(single);
  } else if (std::filesystem::exists(index, unknown)) {
    open_shards(index);
  } else {
    fail(directory, "expected model.safetensors or model.safetensors.index.json, found neither");
  }
}

void Checkpoint::open_single(const std::filesystem::path& path) {
  files_.push_back(std::make_unique<SafetensorsFile>(path));
  add(*files_.back());
  require_model_tensors(path);
}

void Checkpoint::open_shards(const std::filesystem::path& index) {
  const auto shards = read_index(index);
  for (const auto& [name, tensors] : shards) {
    files_.push_back(std::make_unique<SafetensorsFile>(index.parent_path() / name));
    const SafetensorsFile& file = *files_.back();
    add(file);
    std::set<std::string> missing = tensors;
    for (const Tensor& tensor : file.tensors()) {
      if (!missing.erase(tensor.name))
        fail(file.path(), tensor.name + ": expected only tensors that " + index.filename().string() +
                              " assigns to this file, found this one besides");
    }
    if (!missing.empty())
      fail(file.path(), *missing.begin() + ": expected this tensor, since " + index.filename().string() +
                            " assigns it to this file; found none");
  }
  require_model_tensors(index);
}

void Checkpoint::add(const SafetensorsFile& file) {
  for (const Tensor& tensor : file.tensors()) {
    const auto [it, added] = entries_.insert({tensor.name, {&tensor, &file}});
    if (!added)
      fail(file.path(), tensor.name + ": expected each tensor once, found it in " +
                            it->second.file->path().filename().string() + " as well");
  }
}

void Checkpoint::require_model_tensors(const std::filesystem::path& where) {
  std::set<std::string> extra;
  for (const auto& [name, entry] : entries_) {
    if (!is_rotary_buffer(name)) extra.insert(name);
  }
  const auto check = [&](const TensorSpec& spec) {
    const auto it = entries_.find(spec.name);
    if (it == entries_.end())
      fail(where, spec.name + ": expected a tensor of shape " + shape_text(spec.shape) + ", found none");
    const Tensor& tensor = *it->second.tensor;
    const auto& path = it->second.file->path();
    if (tensor.shape != spec.shape)
      fail(path, spec.name + ": expected shape " + shape_text(spec.shape) + " (config.json), found " +
                     shape_text(tensor.shape));
    if (tensor.dtype != "BF16" && tensor.dtype != "F16" && tensor.dtype != "F32")
      fail(path, spec.name + ": expected dtype BF16, F16 or F32, found " + tensor.dtype);
    extra.erase(spec.name);
  };
  for (const TensorSpec& spec : model_tensors(config_)) check(spec);
  if (config_.tie_word_embeddings && extra.contains(head_name)) {
    check({head_name, tensor(embedding_name).shape});
    const auto head = tensor(head_name), embedding = tensor(embedding_name);
    const bool same =
        head.dtype == embedding.dtype && std::memcmp(head.bytes.data(), embedding.bytes.data(), head.bytes.size()) == 0;
    if (!same)
      fail(entry(head_name).file->path(), std::string(head_name) + ": expected a copy of " + embedding_name +
                                              ", since tie_word_embeddings is true; found other values");
    release(head);
    release(embedding);
  }
  if (!extra.empty())
    fail(entry(*extra.begin()).file->path(), *extra.begin() + ": expected only tensors of Qwen3ForCausalLM with " +
                                                 std::to_string(config_.num_hidden_layers) +
                                                 " layers, found this one besides");
}

const Checkpoint::Entry& Checkpoint::entry(const std::string& name) const {
  const auto it = entries_.find(name);
  ensure(it != entries_.end(), "a tensor that the checkpoint holds");
  return it->second;
}

const Tensor& Checkpoint::tensor(const std::string& name) const { return *entry(name).tensor; }

uint64_t Checkpoint::bytes() const {
  uint64_t total = 0;
  for (const TensorSpec& spec : model_tensors(config_)) total += tensor(spec.name).bytes.size();
  return total;
}

void Checkpoint::require_finite(const Tensor& tensor) const {
  // The least magnitudes that bf16 has no finite number for: all-ones exponents, and floats that round up to infinity.
  const bool bad = tensor.dtype == "BF16"  ? largest_magnitude<int16_t>(tensor.bytes) >= 0x7f80
                   : tensor.dtype == "F16" ? largest_magnitude<int16_t>(tensor.bytes) >= 0x7c00
                                           : largest_magnitude<int32_t>(tensor.bytes) >= 0x7f7f8000;
  if (bad) fail(entry(tensor.name).file->path(), tensor.name + ": expected finite weights, found NaN or infinity");
}

void Checkpoint::release(const Tensor& tensor) const { entry(tensor.name).file->release(tensor); }

}  // namespace npr::model
