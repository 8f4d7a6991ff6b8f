#include "model/parameters.h"

#include <utility>

#include "error.h"
#include "model/tensors.h"

namespace npr::model {

std::vector<Parameter> parameters(Model& model) {
  const Config& config = model.config();
  Weights& weights = model.weights();
  std::vector<Parameter> out;
  const auto matrix = [&](std::unique_ptr<compute::Matrix>& packed, std::vector<Parameter::Part> parts) {
    out.push_back({std::move(parts), packed->n(), packed->k(), packed.get(), nullptr});
  };
  const auto vector = [&](const std::string& name, float* values, uint32_t n) {
    out.push_back({{{name, n}}, n, 1, nullptr, values});
  };
  const uint32_t hidden = config.hidden_size, inner = config.intermediate_size;
  const uint32_t q = config.q_size(), kv = config.kv_size();
  matrix(weights.embedding, {{embedding_name, config.vocab_size}});
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    LayerWeights& layer = weights.layers[i];
    const auto name = [&](const char* part) { return layer_tensor(i, part); };
    vector(name("input_layernorm"), layer.input_norm, hidden);
    matrix(layer.qkv, {{name("self_attn.q_proj"), q}, {name("self_attn.k_proj"), kv}, {name("self_attn.v_proj"), kv}});
    vector(name("self_attn.q_norm"), layer.q_norm, config.head_dim);
    vector(name("self_attn.k_norm"), layer.k_norm, config.head_dim);
    matrix(layer.attention_out, {{name("self_attn.o_proj"), hidden}});
    vector(name("post_attention_layernorm"), layer.mlp_norm, hidden);
    matrix(layer.gate_up, {{name("mlp.gate_proj"), inner}, {name("mlp.up_proj"), inner}});
    matrix(layer.down, {{name("mlp.down_proj"), hidden}});
  }
  vector(final_norm_name, weights.final_norm, hidden);
  if (weights.own_head) matrix(weights.own_head, {{head_name, config.vocab_size}});
  ensure(out.size() == head_parameter(config) + (config.tie_word_embeddings ? final_norm_parameter(config) + 1 : 1),
         "parameters in their order");
  return out;
}

}  // namespace npr::model
