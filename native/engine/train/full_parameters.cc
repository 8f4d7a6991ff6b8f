#include "train/full_parameters.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compute/convert.h"
#include "error.h"

namespace npr::train {
namespace {

// In the order of the parameters, which is not quite a checkpoint's.
std::vector<model::TensorSpec> tensors_of(model::Model& model) {
  std::vector<model::TensorSpec> out;
  for (const auto& parameter : model::parameters(model)) {
    for (const auto& part : parameter.parts) {
      out.push_back({part.name, {part.rows}});
      if (parameter.matrix) out.back().shape.push_back(parameter.columns);
    }
  }
  return out;
}

}  // namespace

FullParameters::FullParameters(model::Model& model) : ParameterStore(model, tensors_of(model)) {
  size_t begin = 0;
  for (uint32_t index = 0; index < parameters(); ++index) {
    const model::Parameter& parameter = parameters_[index];
    ranges_.push_back({begin, begin + parameter.size()});
    float* masters = arrays_.masters() + begin;
    if (parameter.matrix) {
      std::vector<int32_t> rows(parameter.rows);
      std::iota(rows.begin(), rows.end(), 0);
      backend_.embed(rows, *parameter.matrix, masters);
    } else {
      backend_.copy(parameter.vector, parameter.rows, masters);
      apply(index);
    }
    begin = ranges_.back().end;
  }
}

void FullParameters::apply(uint32_t index) {
  const model::Parameter& parameter = parameters_[index];
  const float* masters = arrays_.masters() + ranges_[index].begin;
  if (parameter.matrix) return backend_.update(*parameter.matrix, masters);
  std::vector<float> rounded(parameter.size());
  backend_.download(masters, rounded);
  for (float& x : rounded) x = compute::to_float(compute::to_bf16(x));
  if (!std::ranges::all_of(rounded, [](float x) { return std::isfinite(x); }))
    throw Error(ErrorCode::invalid_checkpoint, parameter.parts.front().name + ": a weight that is not finite as bf16");
  backend_.upload(parameter.vector, rounded);
}

}  // namespace npr::train
