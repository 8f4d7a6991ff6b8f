#include "model/save_weights.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/matrix_rows.h"
#include "model/parameters.h"

namespace npr::model {
namespace {

// Where a tensor of a checkpoint lies in the model.
struct Place {
  const Parameter* parameter;
  uint32_t first_row;
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
  MatrixRows rows_of(model.backend());
  const auto append = [&](std::span<const uint16_t> numbers) { out.append(numbers); };
  for (const TensorSpec& tensor : tensors) {
    const auto [parameter, first_row] = places.at(tensor.name);
    const auto rows = static_cast<uint32_t>(tensor.shape[0]);
    if (parameter->matrix) {
      rows_of.read(*parameter->matrix, first_row, rows, append);
    } else {
      rows_of.round(parameter->vector, rows, append);
    }
  }
  out.finish();
}

}  // namespace npr::model
