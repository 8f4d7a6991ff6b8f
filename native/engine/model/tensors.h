// The tensors of a Qwen3 checkpoint: their names and shapes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace npr::model {

struct TensorSpec {
  std::string name;
  std::vector<uint64_t> shape;
  uint64_t numbers() const;
};

inline const std::string embedding_name = "model.embed_tokens.weight";  // [vocab, hidden]
inline const std::string final_norm_name = "model.norm.weight";         // [hidden]
inline const std::string head_name = "lm_head.weight";                  // [vocab, hidden]; untied only

// "model.layers.3.mlp.up_proj.weight" for layer 3 and part "mlp.up_proj".
std::string layer_tensor(uint32_t layer, const std::string& part);

// Every tensor that the model needs, in the order of the graph; without the head where it is the embedding.
std::vector<TensorSpec> model_tensors(const Config& config);

// Numbers in those tensors.
uint64_t parameter_count(const Config& config);

}  // namespace npr::model
