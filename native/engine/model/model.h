// The Qwen3 graph over a compute backend.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "model/config.h"
#include "model/weights.h"

namespace npr::model {

// One forward step: every row is a token appended to a sequence.
struct Batch {
  std::vector<int32_t> tokens;               // [rows]
  std::vector<int32_t> positions;            // [rows] rope positions
  std::vector<compute::Slot> slots;          // [rows] where each row's keys and values go
  std::vector<compute::Sequence> sequences;  // consecutive rows, in order
  std::vector<uint32_t> logit_rows;          // ascending rows whose logits are wanted
  uint32_t rows() const { return static_cast<uint32_t>(tokens.size()); }
};

// Thread safety: one thread at a time.
class Model {
 public:
  static constexpr uint32_t min_slots = 16;

  // The KV pool where none is asked for: 4 GiB of the system's memory; of a GPU's nine tenths of what weights and
  // activations leave, but no more slots than any load fills.
  static constexpr uint64_t usual_kv_bytes = uint64_t{4} << 30;
  static constexpr uint32_t most_usual_slots = uint32_t{1} << 22;

  // Packs the checkpoint's weights for `backend` and sets up a KV pool of `kv_bytes` (whole slots). The checkpoint may
  // go afterwards. progress(done, total) is called with bytes of weights packed so far. Throws Error(invalid_request)
  // where kv_bytes is less than min_slots slots, Error(out_of_memory) where the machine has too little memory,
  // Error(invalid_checkpoint) where a weight is not finite.
  Model(const Checkpoint& checkpoint, std::unique_ptr<compute::Backend> backend, std::optional<uint64_t> kv_bytes,
        uint32_t max_rows, const std::function<void(uint64_t, uint64_t)>& progress = {});

  const Config& config() const { return config_; }
  uint32_t slots() const { return slots_; }        // KV slots
  uint32_t max_rows() const { return max_rows_; }  // the largest batch
  compute::Backend& backend() { return *backend_; }
  Weights& weights() { return weights_; }
  uint32_t max_logit_rows() const { return backend_->logit_rows(); }  // of one call of logits()
  // Throws Error(internal) where a batch does not fit the model, but for the number of its rows.
  void require_valid(const Batch& batch) const;

  // Computes every row, writing its keys and values. `batch` must stay alive until the last logits() call on it.
  void forward(const Batch& batch);
  // Logits [count, vocab] of batch.logit_rows[first, first + count), count <= max_logit_rows(): a device array, valid
  // until the next call.
  const float* logits(uint32_t first, uint32_t count);

 private:
  void allocate_activations();

  Config config_;
  std::unique_ptr<compute::Backend> backend_;
  uint32_t slots_ = 0, max_rows_;
  Weights weights_;
  std::span<const uint32_t> logit_rows_;  // of the last forward's batch

  float* residual_ = nullptr;         // [max_rows, hidden]
  compute::bf16* normed_ = nullptr;   // [max_rows, hidden]
  float* wide_ = nullptr;             // [max_rows, (q_heads + 2 kv_heads) head_dim] or [max_rows, 2 intermediate]
  compute::bf16* queries_ = nullptr;  // [max_rows, q_heads, head_dim]
  compute::bf16* inner_ = nullptr;    // [max_rows, q_heads, head_dim] or [max_rows, intermediate]
  float* picked_ = nullptr;           // [max_logit_rows, hidden]
  float* logits_ = nullptr;           // [max_logit_rows, vocab]
};

}  // namespace npr::model
