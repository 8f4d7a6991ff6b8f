// Gradients of attention over the KV pool.
#pragma once
#include <cstdint>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/batch.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/kv_pool.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// A task is a KV head of a *tree*: sequences that see rows of each other, as the branches of one prompt do. It alone
// adds to their keys' and values' gradients, sequence by sequence in order, so that sums have one order. Thread safety:
// one thread at a time; works on the pool's threads inside run().
class AttentionBackward {
 public:
  AttentionBackward(const Kernels& kernels, ThreadPool& threads, const KvPool& pool, uint32_t q_heads);

  // See Backward::attention.
  void run(const CpuBatch& batch, uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
           float* d_rotated);

 private:
  struct Arrays {
    uint32_t layer;
    const bf16 *q, *out;
    const float *log_sums, *g;
    float* d_rotated;
  };
  // What one thread needs for a block of query vectors and a chunk of keys.
  struct Workspace {
    Pages q, g;             // operands [vectors, head_dim]
    Pages q_rows, g_rows;   // bf16 [vectors, head_dim], where operands are not
    Pages dq;               // [vectors, head_dim]
    Pages tiles, key_rows;  // bf16: keys and values as tiles, keys as rows; a chunk each
    Pages dk, dv;           // [chunk_keys, head_dim]
    std::vector<float> log_sums, deltas;
    std::vector<uint8_t> visible;
  };
  // Rows of one sequence of the batch, and the rows whose keys they see.
  struct Rows {
    uint32_t first, count, length;
    uint32_t keys;  // where its [length] rows begin in key_rows_
  };

  void plan(const CpuBatch& batch);
  void run_rows(const Arrays& at, const Rows& rows, uint32_t first, uint32_t count, uint32_t head, Workspace& work);
  void load_vectors(const Arrays& at, uint32_t row, uint32_t count, uint32_t head, Workspace& work) const;
  void load_chunk(uint32_t layer, uint32_t head, const uint32_t* keys, uint32_t count, Workspace& work) const;

  const Kernels& kernels_;
  ThreadPool& threads_;
  const KvPool& pool_;
  const uint32_t q_heads_, kv_heads_, group_, head_dim_, block_rows_;  // group: query heads of one KV head
  std::vector<Workspace> work_;                                        // one a thread

  uint64_t planned_ = 0;  // batch
  const CpuBatch* batch_ = nullptr;
  std::vector<Rows> rows_;             // by tree
  std::vector<uint32_t> trees_;        // where each begins in rows_, and the end
  std::vector<uint32_t> key_rows_;     // all sequences'
  std::vector<uint32_t> row_of_slot_;  // [slots of the pool]
};

}  // namespace npr::compute
