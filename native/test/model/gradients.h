// Collects gradients by the names that a checkpoint gives the tensors.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/parameters.h"

namespace test {

class CollectedGradients : public npr::model::GradientSink {
 public:
  explicit CollectedGradients(npr::model::Model& model)
      : backend_(model.backend()), parameters_(npr::model::parameters(model)), done_(parameters_.size()) {
    for (const auto& parameter : parameters_) arrays_.push_back(backend_.allocate(parameter.size() * sizeof(float)));
  }
  float* array(uint32_t parameter) override { return static_cast<float*>(arrays_[parameter].get()); }
  void done(uint32_t parameter) override { ++done_[parameter]; }

  // How often the backward said that it had finished with each parameter.
  const std::vector<uint32_t>& done() const { return done_; }
  std::map<std::string, std::vector<float>> by_name() const {
    std::map<std::string, std::vector<float>> out;
    for (size_t p = 0; p < parameters_.size(); ++p) {
      const auto* from = static_cast<const float*>(arrays_[p].get());
      for (const auto& part : parameters_[p].parts) {
        auto& values = out[part.name];
        values.resize(size_t{part.rows} * parameters_[p].columns);
        backend_.download(from, values);
        from += values.size();
      }
    }
    return out;
  }

 private:
  npr::compute::Backend& backend_;
  std::vector<npr::model::Parameter> parameters_;
  std::vector<std::shared_ptr<void>> arrays_;
  std::vector<uint32_t> done_;
};

}  // namespace test
