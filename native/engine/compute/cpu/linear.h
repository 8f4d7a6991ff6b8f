// Linear layers: tasks for the threads out of a matrix's panels and the batch's rows.
#pragma once
#include <cstdint>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/packed_matrix.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// Neighbouring panels of [n, k], as one kind of kernel multiplies by them.
struct Panels {
  const LinearKernels& kernels;
  uint32_t n, k;
  const std::byte* data;
  size_t panel_bytes;
  const float* scales;  // [n] or null
};

// Thread safety: one thread at a time; works on the pool's threads inside run() and multiply().
class Linear {
 public:
  explicit Linear(ThreadPool& threads);

  // out [rows, n] = x [rows, k] . w^T, or out += that.
  void run(const bf16* x, uint32_t rows, const PackedMatrix& w, float* out, bool add);
  // The same for rows that are operands of w's kernels already. They have to be arranged unless those take so many as
  // they are.
  void multiply(const std::byte* x, uint32_t rows, bool arranged, const Panels& w, float* out, bool add);

 private:
  const void* operands(const bf16* x, uint32_t rows, const PackedMatrix& w);
  const std::byte* arrange(const std::byte* x, uint32_t rows, const Panels& w);

  ThreadPool& threads_;
  struct Operands {
    Pages pages;
    size_t capacity = 0;
    std::byte* grow(size_t bytes);  // what they held is lost
  };
  Operands converted_, arranged_;  // of one call, where its rows are not taken as they are
  std::vector<Pages> sums_;        // one a thread: what a task's outputs come to
};

}  // namespace npr::compute
