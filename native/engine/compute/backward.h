// What training adds to backend.h: the gradients of its operations, and what a step does to arrays of its own.
//
// g is always the gradient of the loss with respect to an operation's output, d... that with respect to what the name
// says. Arrays are row-major device arrays. Sums have one order whatever the thread count.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "compute/backend.h"

namespace npr::compute {

// The constants of one step of AdamW, as fp32 arithmetic takes them; `gradient_scale` multiplies gradients first.
struct AdamWStep {
  float gradient_scale, keep, weight1, beta2, weight2, step_size, root_of_correction2, epsilon;
};

// LoRA's addition to a matrix: scale b [rows, rank] . a [rank, columns].
struct LowRank {
  uint32_t rows, columns, rank;
  float scale;
  const float *a, *b;
};

// Thread safety: as its backend, which it belongs to.
class Backward {
 public:
  virtual ~Backward() = default;

  // --- gradients ---
  // Of linear(): dx [rows, k] = g [rows, n] . w.
  virtual void linear_input(const float* g, uint32_t rows, const Matrix& w, float* dx) = 0;
  // Of linear(): dw [n, k] += g [rows, n]^T . x [rows, k].
  virtual void linear_weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw) = 0;
  // Of rms_norm(): dx [rows, n] += ..., dw [n] += ...; dw may be null.
  virtual void rms_norm(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps,
                        float* dx, float* dw) = 0;
  // Of swiglu(): g [rows, n] -> d_gate_up [rows, 2 n].
  virtual void swiglu(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) = 0;
  // Of attention() in the batch declared last, whose rows hold every key that is seen: `q`, `out` and `log_sums` as
  // that call took and gave them, g [rows, q_heads, head_dim] -> d_rotated [rows, (q_heads + 2 kv_heads), head_dim],
  // the gradients of rotated queries, rotated keys and values.
  virtual void attention(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
                         float* d_rotated) = 0;
  // Of rotate_and_store(): turns d_rotated into the gradient of `qkv`, in place; dq_norm, dk_norm [head_dim] += ...,
  // both may be null.
  virtual void rotate(const float* qkv, const AttentionWeights& w, float eps, float* d_rotated, float* dq_norm,
                      float* dk_norm) = 0;
  virtual void zero(float* x, size_t count) = 0;
  // Of gather(): dx [rows, n]: rows `pick` += g [picked, n], in order.
  virtual void scatter_add(const float* g, std::span<const uint32_t> pick, uint32_t n, float* dx) = 0;
  // Of low_rank_add(), from g [rows, columns]: da [rank, columns] += scale b^T . g, db [rows, rank] += scale g . a^T.
  virtual void low_rank(const LowRank& factors, const float* g, float* da, float* db) = 0;

  // --- a step ---
  // The sum of squares, in double; not finite where a number is not.
  virtual double sum_of_squares(const float* x, size_t count) = 0;
  // Updates masters and moments of the same `count` numbers, and clears their gradients. What one number becomes
  // depends on itself alone. Memory bound: reads 16 bytes a number and writes as many.
  virtual void adamw(const AdamWStep& step, size_t count, float* masters, float* gradients, float* first_moments,
                     float* second_moments) = 0;
  // w [rows, columns] += scale b . a
  virtual void low_rank_add(const LowRank& factors, float* w) = 0;

  // --- logits ---
  // Bytes of them that are worth holding at a time: the head's gradient is read and written once for each time.
  virtual size_t logit_bytes() const = 0;
  // x [count] for the host to read and change, until the next call of borrow(). What it has become is x again once it
  // is given back, of which there is no need where nothing changed.
  virtual std::span<float> borrow(float* x, size_t count) = 0;
  virtual void give_back(float* x, size_t count) = 0;
};

}  // namespace npr::compute
