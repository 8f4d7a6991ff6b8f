// Training of low-rank additions to some matrices (Hu et al. 2021, arXiv 2106.09685), everything else frozen.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compute/backward.h"
#include "train/parameter_store.h"

namespace npr::train {

// A target's weights are W0 + alpha / rank B A, with masters and moments for A [rank, columns] and B [rows, rank]
// alone. A starts Kaiming-uniform with a = sqrt(5), which is uniform within 1 / sqrt(columns), and B as zeros, as PEFT
// does (peft/tuners/lora/layer.py, reset_lora_parameters). W0 stays bf16, as the engine held it: 2 bytes a number of
// the matrices that hold a target; besides, one of them at a time as floats, for its gradient or its merged weights.
// Thread safety: as ParameterStore.
class LoraParameters : public ParameterStore {
 public:
  LoraParameters(model::Model& model, const LoraOptions& options);

  // The gradient of all the parameter's weights, in memory that serves others after done(), which projects it.
  float* array(uint32_t parameter) override;
  void done(uint32_t parameter) override;
  Range trained(uint32_t index) const override;
  void apply(uint32_t index) override;
  void forget() override;
  std::vector<Frozen> frozen() override;
  std::string description() const override;

 private:
  // A part of a parameter's rows.
  struct Target {
    uint32_t first_row, rows;
    size_t a, b;  // begins in the trained arrays
  };
  // A parameter that holds targets.
  struct Adapted {
    uint32_t parameter;
    std::vector<Target> targets;
    std::unique_ptr<compute::Matrix> base;  // W0 [rows, columns]
  };
  // Floats of an adapted parameter's size.
  struct Scratch {
    std::shared_ptr<void> memory;
    const Adapted* user = nullptr;
    float* floats() const { return static_cast<float*>(memory.get()); }
  };

  const Adapted* find(uint32_t parameter) const;
  void freeze(Adapted& adapted);
  void initialise(const Target& target, uint32_t columns, uint32_t stream);
  // The rows of a parameter's matrix as floats.
  void unpack(const compute::Matrix& matrix, float* out);
  compute::LowRank factors(const Adapted& adapted, const Target& target) const;
  Scratch& scratch(const Adapted* user);
  Scratch& take_scratch(const Adapted& user);

  const LoraOptions options_;
  std::vector<Adapted> adapted_;
  std::vector<Scratch> scratch_;
  size_t scratch_bytes_ = 0;
};

}  // namespace npr::train
