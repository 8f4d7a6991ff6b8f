// Gradients of the operations on rows. All are bound by memory.
//
// Arrays are device arrays, row-major without padding, aligned as allocated; work is queued on `stream`. Bits: every
// sum has one order for a given batch, and none is made by atomics.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "compute/backend.h"
#include "compute/cuda/rows.h"

namespace npr::compute::rows {

// Rows whose part in the gradient of a norm's weights one block adds up.
constexpr uint32_t sum_rows = 16;
inline uint32_t partial_sums(uint32_t rows) { return (rows + sum_rows - 1) / sum_rows; }

// Of rms_norm(): dx [rows, n] += ...; dw [n] += ..., unless it is null. partial: [partial_sums(rows), n], to work with.
// 16 n bytes a row.
void rms_norm_backward(cudaStream_t stream, const float* g, const float* x, const float* weight, uint32_t rows,
                       uint32_t n, float eps, float* dx, float* dw, float* partial);
// Of swiglu(): g [rows, n], gate_up [rows, 2 n] -> d_gate_up [rows, 2 n]. 20 n bytes a row.
void swiglu_backward(cudaStream_t stream, const float* g, const float* gate_up, uint32_t rows, uint32_t n,
                     float* d_gate_up);
// Of rotate_and_store(): d_rotated [rows, q_heads + 2 kv_heads, head_dim] becomes the gradient of qkv; dq_norm, dk_norm
// [head_dim] += ..., each unless it is null. partial: [partial_sums(rows), 2, head_dim]. 12 bytes an element.
void rotate_backward(cudaStream_t stream, const float* qkv, uint32_t rows, uint32_t q_heads, uint32_t kv_heads,
                     uint32_t head_dim, const AttentionWeights& w, const Rotations& at, float eps, float* d_rotated,
                     float* dq_norm, float* dk_norm, float* partial);

// total [n] += the sums of the columns of partial [count, stride].
void column_sums(cudaStream_t stream, const float* partial, uint32_t count, uint32_t stride, uint32_t n, float* total);

// Picked rows grouped by where they go: group i is order[first[i], first[i + 1]), rows of g that go to row target[i].
// Device arrays.
struct Groups {
  uint32_t count;
  const uint32_t *target, *first, *order;
};
// dx [rows, n]: row target[i] += the group's rows of g [picked, n], in order. 4 n bytes a row of g, 8 n one of dx.
void scatter_add(cudaStream_t stream, const float* g, const Groups& groups, uint32_t n, float* dx);

}  // namespace npr::compute::rows
