// Collects gradients by the names that a checkpoint gives the tensors.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/parameters.h"

namespace test {

class CollectedGradients : public npr::model::GradientSink {
 public:
  explicit CollectedGradients(npr::model::Model& model) : parameters_(npr::model::parameters(model)) {
    for (const auto& parameter : parameters_) arrays_.emplace_back(parameter.size());
    done_.resize(parameters_.size());
  }
  float* array(uint32_t parameter) override { return arrays_[parameter].data(); }
  void done(uint32_t parameter) override { ++done_[parameter]; }

  // How often the backward said that it had finished with each parameter.
  const std::vector<uint32_t>& done() const { return done_; }
  std::map<std::string, std::vector<float>> by_name() const {
    std::map<std::string, std::vector<float>> out;
    for (size_t p = 0; p < parameters_.size(); ++p) {
      auto from = arrays_[p].begin();
      for (const auto& part : parameters_[p].parts) {
        const auto end = from + size_t{part.rows} * parameters_[p].columns;
        out[part.name].assign(from, end);
        from = end;
      }
    }
    return out;
  }

 private:
  std::vector<npr::model::Parameter> parameters_;
  std::vector<std::vector<float>> arrays_;
  std::vector<uint32_t> done_;
};

}  // namespace test
