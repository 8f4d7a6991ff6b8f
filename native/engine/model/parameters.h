// What training changes: the model's arrays, by the names that a checkpoint gives them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/model.h"

namespace npr::model {

// A matrix as the backend holds it, with several of a checkpoint's tensors stacked along its rows, or a norm's weights.
struct Parameter {
  struct Part {
    std::string name;  // as in the checkpoint
    uint32_t rows;
  };
  std::vector<Part> parts;
  uint32_t rows, columns;   // a norm's weights: [n, 1]
  compute::Matrix* matrix;  // one of these two
  float* vector;            // device array [rows]
  size_t size() const { return size_t{rows} * columns; }
};

// Where each kind of parameter stands in the list below: the embedding, then for each layer those of `LayerParameter`,
// the final norm, and the head where it is not the embedding.
enum class LayerParameter : uint32_t { input_norm, qkv, q_norm, k_norm, attention_out, mlp_norm, gate_up, down, count };
constexpr uint32_t embedding_parameter = 0;
constexpr uint32_t layer_parameter(uint32_t layer, LayerParameter which) {
  return 1 + layer * static_cast<uint32_t>(LayerParameter::count) + static_cast<uint32_t>(which);
}
inline uint32_t final_norm_parameter(const Config& config) {
  return layer_parameter(config.num_hidden_layers, LayerParameter::input_norm);
}
// The embedding where it is also the head.
inline uint32_t head_parameter(const Config& config) {
  return config.tie_word_embeddings ? embedding_parameter : final_norm_parameter(config) + 1;
}

// Pointers into the model, which must outlive them.
std::vector<Parameter> parameters(Model& model);

// Takes the gradients of a backward pass. Thread safety: called from one thread.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  // The device array [rows, columns] that the parameter's gradient is added to; null where it is not trained. It may be
  // asked for several times before done().
  virtual float* array(uint32_t parameter) = 0;
  // This batch adds no more to it.
  virtual void done(uint32_t parameter) = 0;
};

}  // namespace npr::model
