#include "model/training_graph.h"

#include <algorithm>

#include "compute/backward.h"
#include "error.h"

namespace npr::model {
namespace {

constexpr uint32_t least_head_rows = 64, most_head_rows = 1024;

uint32_t head_rows_of(const Config& config, uint64_t logit_bytes) {
  const uint64_t rows = logit_bytes / (uint64_t{config.vocab_size} * sizeof(float));
  return static_cast<uint32_t>(std::clamp<uint64_t>(rows, least_head_rows, most_head_rows));
}

template <class T>
std::shared_ptr<T> array(compute::Backend& backend, size_t count) {
  return std::static_pointer_cast<T>(backend.allocate(count * sizeof(T)));
}

}  // namespace

std::optional<Recompute> recompute_named(std::string_view name) {
  if (name == "none") return Recompute::none;
  if (name == "mlp") return Recompute::mlp;
  if (name == "layer") return Recompute::layer;
  return std::nullopt;
}

struct TrainingGraph::Saved {
  std::shared_ptr<float> middle;             // [rows, hidden]
  std::shared_ptr<float> qkv;                // [rows, (q_heads + 2 kv_heads) head_dim]
  std::shared_ptr<compute::bf16> attention;  // [rows, q_heads, head_dim]
  std::shared_ptr<float> log_sums;           // [rows, q_heads]
  std::shared_ptr<float> gate_up;            // [rows, 2 intermediate], the same for all where it is recomputed
};

TrainingGraph::TrainingGraph(Model& model, Recompute recompute)
    : model_(model),
      backend_(model.backend()),
      ops_(model.backend().backward()),
      recompute_(recompute),
      head_rows_(head_rows_of(model.config(), ops_.logit_bytes())) {
  const size_t hidden = model.config().hidden_size;
  picked_ = array<float>(backend_, head_rows_ * hidden);
  picked_gradient_ = array<float>(backend_, head_rows_ * hidden);
  normed_gradient_ = array<float>(backend_, head_rows_ * hidden);
  picked_normed_ = array<compute::bf16>(backend_, head_rows_ * hidden);
  logits_ = array<float>(backend_, size_t{head_rows_} * model.config().vocab_size);
}

TrainingGraph::~TrainingGraph() = default;

void TrainingGraph::reserve(uint32_t rows) {
  if (rows <= capacity_) return;
  const Config& config = model_.config();
  const size_t hidden = config.hidden_size, inner = config.intermediate_size, q = config.q_size();
  const size_t qkv = q + 2 * config.kv_size(), layers = config.num_hidden_layers;
  const size_t count = rows + rows / 8;  // batches differ a little in size
  capacity_ = 0;
  saved_.clear();
  inputs_.clear();
  residual_ = residual_gradient_ = wide_gradient_ = narrow_gradient_ = {};
  normed_ = queries_ = inner_ = {};
  for (size_t i = 0; i < layers; ++i) inputs_.push_back(array<float>(backend_, count * hidden));
  std::shared_ptr<float> gate_up;
  for (size_t i = 0; i < (recompute_ == Recompute::layer ? 1 : layers); ++i) {
    if (!gate_up || recompute_ == Recompute::none) gate_up = array<float>(backend_, count * 2 * inner);
    saved_.push_back({.middle = array<float>(backend_, count * hidden),
                      .qkv = array<float>(backend_, count * qkv),
                      .attention = array<compute::bf16>(backend_, count * q),
                      .log_sums = array<float>(backend_, count * config.num_attention_heads),
                      .gate_up = gate_up});
  }
  residual_ = array<float>(backend_, count * hidden);
  residual_gradient_ = array<float>(backend_, count * hidden);
  normed_ = array<compute::bf16>(backend_, count * hidden);
  queries_ = array<compute::bf16>(backend_, count * q);
  inner_ = array<compute::bf16>(backend_, count * inner);
  wide_gradient_ = array<float>(backend_, count * std::max(2 * inner, qkv));
  narrow_gradient_ = array<float>(backend_, count * std::max({inner, q, hidden}));
  capacity_ = static_cast<uint32_t>(count);
}

LayerBuffers TrainingGraph::buffers(uint32_t layer) {
  const Saved& saved = saved_[recompute_ == Recompute::layer ? 0 : layer];
  return {.residual = inputs_[layer].get(),
          .middle = saved.middle.get(),
          .normed = normed_.get(),
          .qkv = saved.qkv.get(),
          .queries = queries_.get(),
          .attention = saved.attention.get(),
          .log_sums = saved.log_sums.get(),
          .gate_up = saved.gate_up.get(),
          .inner = inner_.get(),
          .out = layer + 1 < inputs_.size() ? inputs_[layer + 1].get() : residual_.get()};
}

void TrainingGraph::forward(const Batch& batch) {
  batch_ = nullptr;
  model_.require_valid(batch);
  rows_ = batch.rows();
  reserve(rows_);
  batch_ = &batch;
  const Config& config = model_.config();
  const Weights& weights = model_.weights();
  backend_.begin(batch.positions, batch.slots, batch.sequences);
  backend_.embed(batch.tokens, *weights.embedding, inputs_.front().get());
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    attention_block(backend_, config, i, weights.layers[i], rows_, buffers(i));
    mlp_block(backend_, config, weights.layers[i], rows_, buffers(i));
  }
  ops_.zero(residual_gradient_.get(), size_t{rows_} * config.hidden_size);
}

float* TrainingGraph::logits(std::span<const uint32_t> rows) {
  const Config& config = model_.config();
  const auto count = static_cast<uint32_t>(rows.size());
  ensure(batch_ && count >= 1 && count <= head_rows_, "logits of 1 to head_rows rows after a forward");
  for (const uint32_t row : rows) ensure(row < rows_, "logits of rows of the batch");
  picked_rows_.assign(rows.begin(), rows.end());
  backend_.gather(residual_.get(), rows, config.hidden_size, picked_.get());
  backend_.rms_norm(picked_.get(), model_.weights().final_norm, count, config.hidden_size, config.rms_norm_eps,
                    picked_normed_.get());
  backend_.linear(picked_normed_.get(), count, model_.weights().head(), logits_.get());
  return logits_.get();
}

void TrainingGraph::logits_backward(GradientSink& gradients) {
  const Config& config = model_.config();
  const auto count = static_cast<uint32_t>(picked_rows_.size());
  const uint32_t hidden = config.hidden_size;
  if (float* dw = gradients.array(head_parameter(config))) {
    ops_.linear_weight(logits_.get(), picked_normed_.get(), count, config.vocab_size, hidden, dw);
  }
  ops_.linear_input(logits_.get(), count, model_.weights().head(), normed_gradient_.get());
  ops_.zero(picked_gradient_.get(), size_t{count} * hidden);
  ops_.rms_norm(normed_gradient_.get(), picked_.get(), model_.weights().final_norm, count, hidden, config.rms_norm_eps,
                picked_gradient_.get(), gradients.array(final_norm_parameter(config)));
  ops_.scatter_add(picked_gradient_.get(), picked_rows_, hidden, residual_gradient_.get());
}

void TrainingGraph::backward(GradientSink& gradients) {
  const Config& config = model_.config();
  ensure(batch_, "a backward after its forward");
  gradients.done(final_norm_parameter(config));
  if (!config.tie_word_embeddings) gradients.done(head_parameter(config));
  for (uint32_t layer = config.num_hidden_layers; layer-- > 0;) {
    const LayerWeights& weights = model_.weights().layers[layer];
    if (recompute_ == Recompute::layer) attention_block(backend_, config, layer, weights, rows_, buffers(layer));
    if (recompute_ != Recompute::none) gate_and_up(backend_, config, weights, rows_, buffers(layer));
    mlp_backward(layer, gradients);
    attention_backward(layer, gradients);
  }
  if (float* table = gradients.array(embedding_parameter)) {
    const std::vector<uint32_t> tokens(batch_->tokens.begin(), batch_->tokens.end());
    ops_.scatter_add(residual_gradient_.get(), tokens, config.hidden_size, table);
  }
  gradients.done(embedding_parameter);
  batch_ = nullptr;
}

// What is cheap is computed again: the norms, the activation, the rotated queries.
void TrainingGraph::mlp_backward(uint32_t index, GradientSink& gradients) {
  const Config& config = model_.config();
  const LayerWeights& layer = model_.weights().layers[index];
  const LayerBuffers at = buffers(index);
  const uint32_t hidden = config.hidden_size, inner = config.intermediate_size;
  float *const wide = wide_gradient_.get(), *const narrow = narrow_gradient_.get(), *const g = residual_gradient_.get();
  const auto parameter = [&](LayerParameter which) { return layer_parameter(index, which); };

  if (float* dw = gradients.array(parameter(LayerParameter::down))) {
    backend_.swiglu(at.gate_up, rows_, inner, at.inner);
    ops_.linear_weight(g, at.inner, rows_, hidden, inner, dw);
  }
  gradients.done(parameter(LayerParameter::down));
  ops_.linear_input(g, rows_, *layer.down, narrow);
  ops_.swiglu(narrow, at.gate_up, rows_, inner, wide);
  if (float* dw = gradients.array(parameter(LayerParameter::gate_up))) {
    backend_.rms_norm(at.middle, layer.mlp_norm, rows_, hidden, config.rms_norm_eps, at.normed);
    ops_.linear_weight(wide, at.normed, rows_, 2 * inner, hidden, dw);
  }
  gradients.done(parameter(LayerParameter::gate_up));
  ops_.linear_input(wide, rows_, *layer.gate_up, narrow);
  ops_.rms_norm(narrow, at.middle, layer.mlp_norm, rows_, hidden, config.rms_norm_eps, g,
                gradients.array(parameter(LayerParameter::mlp_norm)));
  gradients.done(parameter(LayerParameter::mlp_norm));
}

void TrainingGraph::attention_backward(uint32_t index, GradientSink& gradients) {
  const Config& config = model_.config();
  const LayerWeights& layer = model_.weights().layers[index];
  const LayerBuffers at = buffers(index);
  const uint32_t hidden = config.hidden_size, q = config.q_size(), qkv = q + 2 * config.kv_size();
  const float eps = config.rms_norm_eps;
  float *const wide = wide_gradient_.get(), *const narrow = narrow_gradient_.get(), *const g = residual_gradient_.get();
  const auto parameter = [&](LayerParameter which) { return layer_parameter(index, which); };

  if (float* dw = gradients.array(parameter(LayerParameter::attention_out))) {
    ops_.linear_weight(g, at.attention, rows_, hidden, q, dw);
  }
  gradients.done(parameter(LayerParameter::attention_out));
  ops_.linear_input(g, rows_, *layer.attention_out, narrow);
  backend_.rotate_and_store(index, at.qkv, layer.heads(), eps, at.queries);
  ops_.attention(index, at.queries, at.attention, at.log_sums, narrow, wide);
  ops_.rotate(at.qkv, layer.heads(), eps, wide, gradients.array(parameter(LayerParameter::q_norm)),
              gradients.array(parameter(LayerParameter::k_norm)));
  gradients.done(parameter(LayerParameter::q_norm));
  gradients.done(parameter(LayerParameter::k_norm));
  if (float* dw = gradients.array(parameter(LayerParameter::qkv))) {
    backend_.rms_norm(at.residual, layer.input_norm, rows_, hidden, eps, at.normed);
    ops_.linear_weight(wide, at.normed, rows_, qkv, hidden, dw);
  }
  gradients.done(parameter(LayerParameter::qkv));
  ops_.linear_input(wide, rows_, *layer.qkv, narrow);
  ops_.rms_norm(narrow, at.residual, layer.input_norm, rows_, hidden, eps, g,
                gradients.array(parameter(LayerParameter::input_norm)));
  gradients.done(parameter(LayerParameter::input_norm));
}

}  // namespace npr::model
