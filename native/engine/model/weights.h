// A model's weights in a backend's own form.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "compute/backend.h"
#include "model/checkpoint.h"

namespace npr::model {

// Rows of query, key and value projections are one matrix, as are gate and up: one product reads the activations once.
struct LayerWeights {
  float* input_norm = nullptr;                     // [hidden]
  std::unique_ptr<compute::Matrix> qkv;            // [(q_heads + 2 kv_heads) head_dim, hidden]
  float *q_norm = nullptr, *k_norm = nullptr;      // [head_dim]
  std::unique_ptr<compute::Matrix> attention_out;  // [hidden, q_heads head_dim]
  float* mlp_norm = nullptr;                       // [hidden]
  std::unique_ptr<compute::Matrix> gate_up;        // [2 intermediate, hidden]
  std::unique_ptr<compute::Matrix> down;           // [hidden, intermediate]

  compute::AttentionWeights heads() const { return {q_norm, k_norm}; }
};

struct Weights {
  std::unique_ptr<compute::Matrix> embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  float* final_norm = nullptr;                // [hidden]
  std::unique_ptr<compute::Matrix> own_head;  // [vocab, hidden]; none where the embedding is the head

  const compute::Matrix& head() const { return own_head ? *own_head : *embedding; }
};

// Packs every tensor, one after another; each gives its file memory back once packed, so that no more than one is held
// twice. Throws Error(invalid_checkpoint) where a weight is not finite. progress(done, total): bytes of the checkpoint.
Weights load_weights(const Checkpoint& checkpoint, compute::Backend& backend,
                     const std::function<void(uint64_t, uint64_t)>& progress);

}  // namespace npr::model
