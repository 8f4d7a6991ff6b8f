#include "train/state_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compute/convert.h"
#include "error.h"
#include "model/matrix_rows.h"
#include "model/safetensors.h"
#include "model/safetensors_writer.h"
#include "train/number_text.h"

namespace npr::train {
namespace {

constexpr const char* format = "npr-serve training state 1";
constexpr size_t block = 1 << 18;  // numbers that the host holds at a time

// A tensor of the file, and where it is kept: in a device array, or as rows of a matrix.
struct Stored {
  model::StoredTensor tensor;
  float* numbers;           // null where it is frozen
  compute::Matrix* matrix;  // null where it is not
  uint32_t first_row;
};

std::vector<Stored> contents(ParameterStore& store) {
  const TrainedArrays& arrays = store.arrays();
  std::vector<Stored> out;
  const auto add = [&](const char* prefix, float* array) {
    for (const auto& each : arrays.tensors()) {
      out.push_back(
          {{prefix + each.spec.name, model::StoredTensor::Type::f32, each.spec.shape}, array + each.begin, nullptr, 0});
    }
  };
  add("master.", arrays.masters());
  add("exp_avg.", arrays.first_moments());
  add("exp_avg_sq.", arrays.second_moments());
  for (const auto& each : store.frozen()) {
    out.push_back({{"frozen." + each.spec.name, model::StoredTensor::Type::bf16, each.spec.shape},
                   nullptr,
                   each.matrix,
                   each.first_row});
  }
  return out;
}

std::map<std::string, std::string> options_of(const ParameterStore& store, const Optimizer& optimizer) {
  const OptimizerOptions& options = optimizer.options();
  return {{"format", format},
          {"trained", store.description()},
          {"beta1", number_text(options.adamw.beta1)},
          {"beta2", number_text(options.adamw.beta2)},
          {"epsilon", number_text(options.adamw.epsilon)},
          {"weight_decay", number_text(options.adamw.weight_decay)},
          {"clip_norm", number_text(options.clip_norm)}};
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what, const std::string& expected,
                         const std::string& found) {
  throw Error(ErrorCode::invalid_request, path.string() + ": " + what + ": expected " + expected + ", found " + found);
}

uint64_t steps_of(const model::SafetensorsFile& file) {
  const auto found = file.metadata().find("steps");
  const std::string text = found == file.metadata().end() ? "" : found->second;
  uint64_t steps = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), steps);
  if (error != std::errc() || end != text.data() + text.size())
    refuse(file.path(), "steps", "a whole number", "\"" + text + "\"");
  return steps;
}

// The file's tensors in the order of `wanted`.
std::vector<const model::Tensor*> match(const model::SafetensorsFile& file, const std::vector<Stored>& wanted) {
  std::map<std::string, const model::Tensor*> found;
  for (const model::Tensor& tensor : file.tensors()) found[tensor.name] = &tensor;
  std::vector<const model::Tensor*> out;
  for (const Stored& stored : wanted) {
    const auto& [name, type, shape] = stored.tensor;
    const std::string expected = (type == model::StoredTensor::Type::f32 ? "F32 " : "BF16 ") + model::shape_text(shape);
    const auto at = found.find(name);
    if (at == found.end()) refuse(file.path(), name, expected, "none");
    const std::string actual = at->second->dtype + " " + model::shape_text(at->second->shape);
    if (actual != expected) refuse(file.path(), name, expected, actual);
    out.push_back(at->second);
    found.erase(at);
  }
  if (!found.empty()) refuse(file.path(), found.begin()->first, "no such tensor in this model", "one");
  return out;
}

// Of masters and what is frozen the engine's weights are made, which are bf16.
void require_values(const std::filesystem::path& path, const model::Tensor& tensor) {
  const bool squares = tensor.name.starts_with("exp_avg_sq."), moment = squares || tensor.name.starts_with("exp_avg.");
  const size_t size = tensor.dtype == "F32" ? sizeof(float) : sizeof(uint16_t);
  for (size_t at = 0; at < tensor.bytes.size(); at += size) {
    float value;
    uint16_t brief;
    std::memcpy(size == sizeof value ? static_cast<void*>(&value) : &brief, tensor.bytes.data() + at, size);
    if (size != sizeof value) value = compute::to_float(brief);
    const bool finite = std::isfinite(moment ? value : compute::to_float(compute::to_bf16(value)));
    if (finite && !(squares && value < 0)) continue;
    throw Error(ErrorCode::invalid_checkpoint, path.string() + ": " + tensor.name + ": number " +
                                                   std::to_string(at / size) + " is " + number_text(value) +
                                                   ", expected a finite one" + (squares ? " from 0 on" : ""));
  }
}

void write(compute::Backend& backend, const Stored& stored, model::SafetensorsWriter& out) {
  if (stored.matrix) {
    return model::MatrixRows(backend).read(
        *stored.matrix, stored.first_row, static_cast<uint32_t>(stored.tensor.shape[0]),
        [&](std::span<const uint16_t> numbers) { out.append(std::as_bytes(numbers)); });
  }
  const size_t count = stored.tensor.bytes() / sizeof(float);
  for (size_t at = 0; at < count; at += block) {
    out.append(std::as_bytes(backend.host(stored.numbers + at, std::min(block, count - at))));
  }
}

// Numbers of a file to a device array.
void upload(compute::Backend& backend, const model::Tensor& tensor, float* device) {
  const bool brief = tensor.dtype == "BF16";
  const size_t size = brief ? sizeof(uint16_t) : sizeof(float), count = tensor.bytes.size() / size;
  std::vector<float> floats(std::min(block, count));
  std::vector<uint16_t> briefs(brief ? floats.size() : 0);
  for (size_t at = 0; at < count; at += block) {
    const size_t some = std::min(block, count - at);
    const std::byte* from = tensor.bytes.data() + at * size;
    std::memcpy(brief ? static_cast<void*>(briefs.data()) : floats.data(), from, some * size);
    for (size_t i = 0; brief && i < some; ++i) floats[i] = compute::to_float(briefs[i]);
    backend.upload(device + at, std::span(floats).first(some));
  }
}

// The frozen matrices, each of all of its tensors, which follow one another.
void fill(compute::Backend& backend, const model::SafetensorsFile& file, std::span<const Stored> stored,
          std::span<const model::Tensor* const> tensors) {
  std::shared_ptr<void> memory;
  size_t held = 0;  // bytes of `memory`
  for (size_t i = 0; i < stored.size(); ++i) {
    compute::Matrix* const matrix = stored[i].matrix;
    if (!matrix) continue;
    const size_t bytes = size_t{matrix->n()} * matrix->k() * sizeof(float);
    if (held < bytes) {
      memory.reset();
      memory = backend.allocate(held = bytes);
    }
    auto* const rows = static_cast<float*>(memory.get());
    upload(backend, *tensors[i], rows + size_t{stored[i].first_row} * matrix->k());
    file.release(*tensors[i]);
    if (i + 1 == stored.size() || stored[i + 1].matrix != matrix) backend.update(*matrix, rows);
  }
}

}  // namespace

void save_state(const std::filesystem::path& path, ParameterStore& store, const Optimizer& optimizer) {
  auto metadata = options_of(store, optimizer);
  metadata["steps"] = std::to_string(optimizer.steps());
  const std::vector<Stored> all = contents(store);
  std::vector<model::StoredTensor> tensors;
  for (const Stored& stored : all) tensors.push_back(stored.tensor);
  model::SafetensorsWriter writer(path, tensors, metadata);
  for (const Stored& stored : all) write(store.backend(), stored, writer);
  writer.finish();
  writer.publish();
}

void load_state(const std::filesystem::path& path, ParameterStore& store, Optimizer& optimizer) {
  const model::SafetensorsFile file(path);
  for (const auto& [name, expected] : options_of(store, optimizer)) {
    const auto found = file.metadata().find(name);
    if (found == file.metadata().end() || found->second != expected)
      refuse(path, name, expected, found == file.metadata().end() ? "none" : found->second);
  }
  const uint64_t steps = steps_of(file);
  const std::vector<Stored> wanted = contents(store);
  const std::vector<const model::Tensor*> tensors = match(file, wanted);
  for (const model::Tensor* tensor : tensors) require_values(path, *tensor);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].numbers) continue;
    upload(store.backend(), *tensors[i], wanted[i].numbers);
    file.release(*tensors[i]);
  }
  fill(store.backend(), file, wanted, tensors);
  for (uint32_t index = 0; index < store.parameters(); ++index) {
    const auto [begin, end] = store.trained(index);
    if (begin != end) store.apply(index);
  }
  optimizer.resume(steps);
}

}  // namespace npr::train
