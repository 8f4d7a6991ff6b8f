// Gradients of linear layers, by the kernels of the layers themselves: what is missing are operands and panels of
// transposed arrays.
#pragma once
#include <cstddef>
#include <cstdint>

#include "compute/cpu/kernels.h"
#include "compute/cpu/linear.h"
#include "compute/cpu/packed_matrix.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// Thread safety: one thread at a time; works on the pool's threads.
class LinearBackward {
 public:
  LinearBackward(const Kernels& kernels, ThreadPool& threads, Linear& linear)
      : kernels_(kernels), threads_(threads), linear_(linear) {}

  // dx [rows, k] = g [rows, n] . w; n is summed in blocks, in order.
  void input(const float* g, uint32_t rows, const PackedMatrix& w, float* dx);
  // dw [n, k] += g [rows, n]^T . x [rows, k]; rows are summed in blocks, in order.
  void weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw);

 private:
  const Kernels& kernels_;
  ThreadPool& threads_;
  Linear& linear_;
  Pages left_, right_;  // operands and panels of one block
  size_t left_bytes_ = 0, right_bytes_ = 0;
};

}  // namespace npr::compute
