#include "model/save_weights.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "compute/convert.h"
#include "model/parameters.h"

namespace npr::model {
namespace {

// Where a tensor of a checkpoint lies in the model.
struct Place {
  const Parameter* parameter;
  uint32_t first_row;
};

class Saver {
 public:
  Saver(compute::Backend& backend, CheckpointWriter& out)
      : backend_(backend), out_(out), memory_(backend.allocate(block * sizeof(float))) {}

  void vector(const float* values, uint32_t n) { append(values, n); }

  void matrix(const compute::Matrix& matrix, uint32_t first_row, uint32_t rows) {
    const uint32_t step = std::max(1u, block / matrix.k());
    if (size_t{step} * matrix.k() > block) memory_ = backend_.allocate(size_t{step} * matrix.k() * sizeof(float));
    auto* floats = static_cast<float*>(memory_.get());
    for (uint32_t row = 0; row < rows; row += step) {
      std::vector<int32_t> picked(std::min(step, rows - row));
      std::iota(picked.begin(), picked.end(), static_cast<int32_t>(first_row + row));
      backend_.embed(picked, matrix, floats);
      append(floats, picked.size() * matrix.k());
    }
  }

 private:
  static constexpr uint32_t block = 1 << 18;  // numbers at a time

  void append(const float* device, size_t count) {
    const auto host = backend_.host(device, count);
    rounded_.resize(count);
    std::transform(host.begin(), host.end(), rounded_.begin(), compute::to_bf16);
    out_.append(rounded_);
  }

  compute::Backend& backend_;
  CheckpointWriter& out_;
  std::shared_ptr<void> memory_;
  std::vector<uint16_t> rounded_;
};

}  // namespace

void save_weights(Model& model, const std::filesystem::path& directory, uint64_t shard_bytes) {
  const std::vector<Parameter> all = parameters(model);
  std::map<std::string, Place> places;
  for (const Parameter& parameter : all) {
    uint32_t row = 0;
    for (const auto& part : parameter.parts) places[part.name] = {&parameter, std::exchange(row, row + part.rows)};
  }
  const auto tensors = model_tensors(model.config());
  CheckpointWriter out(directory, tensors, shard_bytes);
  Saver save(model.backend(), out);
  for (const TensorSpec& tensor : tensors) {
    const auto [parameter, first_row] = places.at(tensor.name);
    const auto rows = static_cast<uint32_t>(tensor.shape[0]);
    if (parameter->matrix) {
      save.matrix(*parameter->matrix, first_row, rows);
    } else {
      save.vector(parameter->vector, rows);
    }
  }
  out.finish();
}

}  // namespace npr::model
