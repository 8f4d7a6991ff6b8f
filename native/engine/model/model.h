// The Qwen3 graph over a compute backend.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "model/config.h"

namespace npr::model {

class Checkpoint;

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
  // Packs the checkpoint's weights for `backend` and sets up a KV pool of `kv_bytes` (whole slots).
  // progress(done, total) is called with bytes of weights packed so far.
  Model(const Checkpoint& checkpoint, std::unique_ptr<compute::Backend> backend, uint64_t kv_bytes, uint32_t max_rows,
        const std::function<void(uint64_t, uint64_t)>& progress = {});
  ~Model();

  const Config& config() const { return config_; }
  uint32_t slots() const;     // KV slots
  uint32_t max_rows() const;  // the largest batch
  compute::Backend& backend() { return *backend_; }

  // Computes every row, writing its keys and values. `batch` must stay alive until the last logits() call on it.
  void forward(const Batch& batch);
  // Logits [count, vocab] of batch.logit_rows[first, first + count), count <= max_logit_rows; valid until the next
  // call.
  static constexpr uint32_t max_logit_rows = 64;
  std::span<const float> logits(uint32_t first, uint32_t count);

 private:
  Config config_;
  std::unique_ptr<compute::Backend> backend_;
  struct Weights;
  std::unique_ptr<Weights> weights_;
};

}  // namespace npr::model
