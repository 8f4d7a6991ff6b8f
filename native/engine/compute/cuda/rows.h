// Operations on rows: norms, rotation, activation, and what moves rows about. All are bound by memory.
//
// Arrays are device arrays, row-major without padding, aligned as allocated; work is queued on `stream`. Bits: what a
// row becomes depends on that row alone; sums have one order, whatever the number of rows.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "compute/backend.h"
#include "compute/cuda/cuda_matrix.h"
#include "compute/cuda/kv_pool.h"

namespace npr::compute::rows {

// Whether this program has code for the current device.
bool runnable();

// The batch's rows as rotate_and_store() needs them; device arrays.
struct Rotations {
  const Slot* slots;  // [rows]
  const float* cos;   // [rows, head_dim / 2]
  const float* sin;   // [rows, head_dim / 2]
};

// cos, sin [rows, pairs] of angle positions[row] * inv_freq[i] radians, times `scale`. The angle is rounded to float as
// the models' own code does it; its cosine is exact from there.
void rotations(cudaStream_t stream, const int32_t* positions, uint32_t rows, const float* inv_freq, uint32_t pairs,
               float scale, float* cos, float* sin);
// out [tokens, k] = rows `tokens` of `table` [vocab, k]. 6 k bytes a row.
void embed(cudaStream_t stream, const int32_t* tokens, uint32_t count, const CudaMatrix& table, float* out);
// out [rows, n] = x / sqrt(mean(x^2) + eps) * weight, rounded to bf16. 6 n bytes a row.
void rms_norm(cudaStream_t stream, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps,
              bf16* out);
// qkv [rows, q_heads + 2 kv_heads, head_dim]: see Backend::rotate_and_store(). 6 bytes an element.
void rotate_and_store(cudaStream_t stream, const float* qkv, uint32_t rows, uint32_t q_heads, const CudaKvPool& pool,
                      uint32_t layer, const AttentionWeights& w, const Rotations& at, float eps, bf16* q);
// gate_up [rows, 2 n] -> out [rows, n] = silu(gate) * up. 10 n bytes a row.
void swiglu(cudaStream_t stream, const float* gate_up, uint32_t rows, uint32_t n, bf16* out);
// out [picked, n] = rows `pick` of x [rows, n]. 8 n bytes a row.
void gather(cudaStream_t stream, const float* x, const uint32_t* pick, uint32_t picked, uint32_t n, float* out);
// Rows [first, first + count) of `matrix` = x [count, k], rounded to bf16; sets *not_finite where a value is NaN,
// infinite, or becomes so.
void convert(cudaStream_t stream, const void* x, DType dtype, uint32_t first, uint32_t count, const CudaMatrix& matrix,
             int* not_finite);

}  // namespace npr::compute::rows
