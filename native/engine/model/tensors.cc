#include "model/tensors.h"

namespace npr::model {

uint64_t TensorSpec::numbers() const {
  uint64_t product = 1;
  for (const uint64_t size : shape) product *= size;
  return product;
}

std::string layer_tensor(uint32_t layer, const std::string& part) {
  return "model.layers." + std::to_string(layer) + "." + part + ".weight";
}

std::vector<TensorSpec> model_tensors(const Config& config) {
  const uint64_t hidden = config.hidden_size, head = config.head_dim, inner = config.intermediate_size;
  const uint64_t q = config.q_size(), kv = config.kv_size();
  std::vector<TensorSpec> out{{embedding_name, {config.vocab_size, hidden}}};
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto add = [&](const char* part, std::vector<uint64_t> shape) {
      out.push_back({layer_tensor(i, part), std::move(shape)});
    };
    add("input_layernorm", {hidden});
    add("self_attn.q_proj", {q, hidden});
    add("self_attn.k_proj", {kv, hidden});
    add("self_attn.v_proj", {kv, hidden});
    add("self_attn.q_norm", {head});
    add("self_attn.k_norm", {head});
    add("self_attn.o_proj", {hidden, q});
    add("post_attention_layernorm", {hidden});
    add("mlp.gate_proj", {inner, hidden});
    add("mlp.up_proj", {inner, hidden});
    add("mlp.down_proj", {hidden, inner});
  }
  out.push_back({final_norm_name, {hidden}});
  if (!config.tie_word_embeddings) out.push_back({head_name, {config.vocab_size, hidden}});
  return out;
}

uint64_t parameter_count(const Config& config) {
  uint64_t total = 0;
  for (const TensorSpec& tensor : model_tensors(config)) total += tensor.numbers();
  return total;
}

}  // namespace npr::model
