// A decoder layer over a compute backend: what serving and training both compute.
#pragma once
#include <cstdint>

#include "compute/backend.h"
#include "model/config.h"
#include "model/weights.h"

namespace npr::model {

// Device arrays of one layer. Serving lets the wide ones share memory; training keeps what its backward reads.
struct LayerBuffers {
  float* residual;           // [rows, hidden] what comes in, and what goes out
  float* middle;             // [rows, hidden] the residual between attention and MLP; may be `residual`
  compute::bf16* normed;     // [rows, hidden]
  float* qkv;                // [rows, (q_heads + 2 kv_heads) head_dim]
  compute::bf16* queries;    // [rows, q_heads, head_dim]
  compute::bf16* attention;  // [rows, q_heads, head_dim]
  float* log_sums;           // [rows, q_heads] of the softmax; null: not wanted
  float* gate_up;            // [rows, 2 intermediate]
  compute::bf16* inner;      // [rows, intermediate]
  float* out;                // [rows, hidden] may be `residual`
};

// Batch: the one that backend.begin() was told.
void attention_block(compute::Backend& backend, const Config& config, uint32_t index, const LayerWeights& layer,
                     uint32_t rows, const LayerBuffers& at);
// The part of mlp_block() that its backward reads: up to gate_up.
void gate_and_up(compute::Backend& backend, const Config& config, const LayerWeights& layer, uint32_t rows,
                 const LayerBuffers& at);
void mlp_block(compute::Backend& backend, const Config& config, const LayerWeights& layer, uint32_t rows,
               const LayerBuffers& at);

}  // namespace npr::model
