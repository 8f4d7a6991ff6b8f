// Attention over the KV pool: tasks for the threads out of the plan, partial results, their merging.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/attention_plan.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/kv_pool.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// Thread safety: one thread at a time; works on the pool's threads inside run().
class Attention {
 public:
  Attention(const Kernels& kernels, ThreadPool& threads, const KvPool& pool, uint32_t q_heads);

  void begin(std::span<const Sequence> sequences);
  // q, out [rows, q_heads, head_dim]: softmax(q . k / sqrt(head_dim)) . v over each row's visible path; log_sums
  // [rows, q_heads] or null.
  void run(uint32_t layer, const bf16* q, bf16* out, float* log_sums);

 private:
  // What one thread needs for one item.
  struct Workspace {
    Pages q;                       // operands [group rows, group, head_dim]
    Pages keys;                    // bf16, a chunk's scattered keys as tiles
    Pages probabilities;           // operands [group rows, group, chunk_keys]
    std::vector<uint8_t> visible;  // of each vector of q
  };
  // Partial results of one item and head.
  struct Block {
    float* out;  // [vectors, head_dim]
    float* max;  // [vectors]
    float* sum;  // [vectors]
  };

  Block block(const Wave& wave, const SpanItem& item, uint32_t head);
  void run_item(const Wave& wave, const SpanItem& item, uint32_t layer, uint32_t head, const bf16* q,
                const NextTiles& after, Workspace& work);
  void run_chunk(const SpanItem& item, uint32_t first, uint32_t end, uint32_t chunk, uint32_t layer, uint32_t head,
                 const Block& result, const NextTiles* after, Workspace& work);
  // Key tiles of a chunk of keys that the member sees whole; nulls where it does not. first_tiles: of the item's first.
  NextTiles tiles_of(const Member& member, uint32_t chunk, uint32_t layer, uint32_t head) const;
  NextTiles first_tiles(const SpanItem& item, uint32_t layer, uint32_t head) const;
  void merge_row(const Wave& wave, const PlannedRow& row, uint32_t head, bf16* out, float* log_sums);

  const Kernels& kernels_;
  ThreadPool& threads_;
  const KvPool& pool_;
  const uint32_t kv_heads_, group_, head_dim_;  // group: query heads of one KV head
  const float scale_;
  AttentionPlan plan_;
  Pages outs_, stats_;           // floats of the partial results
  size_t capacity_ = 0;          // members that they hold
  std::vector<Workspace> work_;  // one a thread
};

}  // namespace npr::compute
