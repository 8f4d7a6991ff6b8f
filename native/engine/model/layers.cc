#include "model/layers.h"

namespace npr::model {

void attention_block(compute::Backend& backend, const Config& config, uint32_t index, const LayerWeights& layer,
                     uint32_t rows, const LayerBuffers& at) {
  const float eps = config.rms_norm_eps;
  backend.rms_norm(at.residual, layer.input_norm, rows, config.hidden_size, eps, at.normed);
  backend.linear(at.normed, rows, *layer.qkv, at.qkv);
  backend.rotate_and_store(index, at.qkv, layer.heads(), eps, at.queries);
  backend.attention(index, at.queries, at.attention, at.log_sums);
  if (at.middle != at.residual) backend.copy(at.residual, size_t{rows} * config.hidden_size, at.middle);
  backend.linear_add(at.attention, rows, *layer.attention_out, at.middle);
}

void gate_and_up(compute::Backend& backend, const Config& config, const LayerWeights& layer, uint32_t rows,
                 const LayerBuffers& at) {
  backend.rms_norm(at.middle, layer.mlp_norm, rows, config.hidden_size, config.rms_norm_eps, at.normed);
  backend.linear(at.normed, rows, *layer.gate_up, at.gate_up);
}

void mlp_block(compute::Backend& backend, const Config& config, const LayerWeights& layer, uint32_t rows,
               const LayerBuffers& at) {
  gate_and_up(backend, config, layer, rows, at);
  backend.swiglu(at.gate_up, rows, config.intermediate_size, at.inner);
  if (at.out != at.middle) backend.copy(at.middle, size_t{rows} * config.hidden_size, at.out);
  backend.linear_add(at.inner, rows, *layer.down, at.out);
}

}  // namespace npr::model
