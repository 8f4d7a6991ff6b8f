#include "model/model.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "model/layers.h"
#include "model/tensors.h"

namespace npr::model {
namespace {

uint32_t slots_within(uint64_t kv_bytes, const compute::KvShape& shape) {
  const uint64_t slots = kv_bytes / shape.slot_bytes();
  if (slots < Model::min_slots)
    throw Error(ErrorCode::invalid_request,
                "KV memory: expected at least " + std::to_string(Model::min_slots * shape.slot_bytes()) + " bytes (" +
                    std::to_string(Model::min_slots) + " tokens of " + std::to_string(shape.slot_bytes()) +
                    " bytes), found " + std::to_string(kv_bytes));
  // Above 2^31 slots, sums of slots would not fit 32 bits.
  return static_cast<uint32_t>(std::min<uint64_t>(slots, uint64_t{1} << 31));
}

// Where activations are there and weights are still to come.
uint64_t bytes_to_take(const compute::Backend& backend, const Config& config) {
  const auto free = backend.free_memory();
  if (!free) return Model::usual_kv_bytes;
  const uint64_t weights = parameter_count(config) * sizeof(compute::bf16);
  const uint64_t most = Model::most_usual_slots * config.kv_shape().slot_bytes();
  return std::min(most, *free > weights ? (*free - weights) / 10 * 9 : 0);
}

}  // namespace

Model::Model(const Checkpoint& checkpoint, std::unique_ptr<compute::Backend> backend, std::optional<uint64_t> kv_bytes,
             uint32_t max_rows, const std::function<void(uint64_t, uint64_t)>& progress)
    : config_(checkpoint.config()), backend_(std::move(backend)), max_rows_(max_rows) {
  ensure(max_rows >= 1, "a batch of at least one row");
  // Memory first: where it is short, that shows before minutes of packing.
  allocate_activations();
  slots_ = slots_within(kv_bytes ? *kv_bytes : bytes_to_take(*backend_, config_), config_.kv_shape());
  backend_->allocate_kv(config_.kv_shape(), slots_, config_.num_attention_heads, config_.rope());
  weights_ = load_weights(checkpoint, *backend_, progress);
}

void Model::allocate_activations() {
  const size_t rows = max_rows_, hidden = config_.hidden_size, inner = config_.intermediate_size;
  const size_t q = config_.q_size(), kv = config_.kv_size();
  residual_ = backend_->floats(rows * hidden);
  normed_ = backend_->bf16s(std::max<size_t>(rows, max_logit_rows()) * hidden);
  wide_ = backend_->floats(rows * std::max(q + 2 * kv, 2 * inner));
  queries_ = backend_->bf16s(rows * q);
  inner_ = backend_->bf16s(rows * std::max(q, inner));
  picked_ = backend_->floats(max_logit_rows() * hidden);
  logits_ = backend_->floats(size_t{max_logit_rows()} * config_.vocab_size);
}

void Model::forward(const Batch& batch) {
  require_valid(batch);
  const uint32_t rows = batch.rows();
  ensure(rows <= max_rows_, "a batch of at most max_rows rows");
  logit_rows_ = batch.logit_rows;
  backend_->begin(batch.positions, batch.slots, batch.sequences);
  backend_->embed(batch.tokens, *weights_.embedding, residual_);
  const LayerBuffers at{.residual = residual_,
                        .middle = residual_,
                        .normed = normed_,
                        .qkv = wide_,
                        .queries = queries_,
                        .attention = inner_,
                        .log_sums = nullptr,
                        .gate_up = wide_,
                        .inner = inner_,
                        .out = residual_};
  backend_->repeat([&] {
    for (uint32_t i = 0; i < config_.num_hidden_layers; ++i) {
      attention_block(*backend_, config_, i, weights_.layers[i], rows, at);
      mlp_block(*backend_, config_, weights_.layers[i], rows, at);
    }
  });
}

const float* Model::logits(uint32_t first, uint32_t count) {
  ensure(count <= max_logit_rows() && first + count <= logit_rows_.size(), "logits of rows that were asked for");
  backend_->gather(residual_, logit_rows_.subspan(first, count), config_.hidden_size, picked_);
  backend_->rms_norm(picked_, weights_.final_norm, count, config_.hidden_size, config_.rms_norm_eps, normed_);
  backend_->linear(normed_, count, weights_.head(), logits_);
  return logits_;
}

void Model::require_valid(const Batch& batch) const {
  const uint32_t rows = batch.rows();
  ensure(rows >= 1, "a batch of at least one row");
  ensure(batch.positions.size() == rows && batch.slots.size() == rows, "a position and a slot for every row");
  uint64_t in_sequences = 0;
  for (const compute::Sequence& sequence : batch.sequences) {
    ensure(sequence.rows >= 1 && sequence.rows <= sequence.length, "a sequence of 1 to length rows");
    in_sequences += sequence.rows;
  }
  ensure(in_sequences == rows, "every row in one sequence");
  const auto below = [](const auto& values, uint64_t limit) {
    return std::all_of(values.begin(), values.end(),
                       [&](auto value) { return value >= decltype(value){0} && static_cast<uint64_t>(value) < limit; });
  };
  ensure(below(batch.tokens, config_.vocab_size), "tokens within the vocabulary");
  ensure(below(batch.positions, config_.max_position_embeddings), "positions within the model's limit");
  ensure(below(batch.slots, slots_), "slots within the pool");
  ensure(below(batch.logit_rows, rows), "logits of rows of the batch");
}

}  // namespace npr::model
