#include "common/model_cost.h"

namespace npr::bench {

namespace {

double head_weights(const model::Config& config) { return double{1} * config.vocab_size * config.hidden_size; }

// Matrices of all layers; norms are a few thousandths of a percent.
double layer_weights(const model::Config& config) {
  const double hidden = config.hidden_size;
  const double attention = hidden * (2.0 * config.q_size() + 2.0 * config.kv_size());
  return config.num_hidden_layers * (attention + 3.0 * hidden * config.intermediate_size);
}

// Scales of int8 outputs are a tenth of a percent.
double weight_bytes(compute::WeightFormat format) { return format == compute::WeightFormat::int8 ? 1 : 2; }

// Queries times keys and weights times values, for one token that sees `context` tokens.
double attention_flops(const model::Config& config, double context) {
  return 4.0 * config.num_hidden_layers * config.q_size() * context;
}

}  // namespace

Cost decode_cost(const model::Config& config, compute::WeightFormat format, uint32_t branches, double trunk,
                 double own) {
  const double weights = layer_weights(config) + head_weights(config);
  const double kv = static_cast<double>(config.kv_shape().slot_bytes());
  return {.bytes = weight_bytes(format) * weights + kv * (trunk + branches * own),
          .flops = branches * (2.0 * weights + attention_flops(config, trunk + own))};
}

Cost prefill_cost(const model::Config& config, compute::WeightFormat format, uint32_t tokens) {
  const double layers = layer_weights(config), head = head_weights(config);
  const double kv = static_cast<double>(config.kv_shape().slot_bytes());
  return {.bytes = weight_bytes(format) * (layers + head) + kv * tokens,
          .flops = 2.0 * (layers * tokens + head) + tokens * attention_flops(config, (tokens + 1) / 2.0)};
}

}  // namespace npr::bench
