// Training of every parameter.
#pragma once
#include <string>

#include "train/parameter_store.h"

namespace npr::train {

// 16 bytes a parameter beside the engine's own weights. Thread safety: as ParameterStore.
class FullParameters : public ParameterStore {
 public:
  explicit FullParameters(model::Model& model);

  float* array(uint32_t parameter) override { return arrays_.gradients() + ranges_[parameter].begin; }
  void done(uint32_t) override {}
  Range trained(uint32_t index) const override { return ranges_[index]; }
  void apply(uint32_t index) override;
  std::string description() const override { return "full"; }

 private:
  std::vector<Range> ranges_;  // [parameters]
};

}  // namespace npr::train
