// Which tiles of a batch's rows see keys of which others.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"

namespace npr::compute {

constexpr uint32_t tile_rows = 64;

// What the device reads of the plan.

// Rows of the batch that lie behind each other in a path, from its key `start` on.
struct KeyRun {
  uint32_t row, count, start;
};
// A query: the runs of its path, of which it sees the first `visible` keys.
struct QueryRow {
  uint32_t first_run, runs, visible;
};
// A tile of queries that sees keys of a tile, and where its mask is; `no_mask` where every query sees every key.
struct TilePair {
  uint32_t query, key;
  uint32_t mask;
};
constexpr uint32_t no_mask = UINT32_MAX;
// Pairs [first, first + count) of one tile.
struct TilePairs {
  uint32_t tile, first, count;
};

// Thread safety: one thread at a time.
class AttentionBackwardPlan {
 public:
  void make(std::span<const Slot> slots, std::span<const Sequence> sequences);

  const std::vector<KeyRun>& runs() const { return runs_; }
  const std::vector<QueryRow>& rows() const { return rows_; }
  // Of each tile of queries, by key, and of each tile of keys, by query; those with most pairs first.
  const std::vector<TilePair>& by_query() const { return by_query_; }
  const std::vector<TilePair>& by_key() const { return by_key_; }
  const std::vector<TilePairs>& queries() const { return queries_; }
  const std::vector<TilePairs>& keys() const { return keys_; }
  const std::vector<TilePair>& masked() const { return masked_; }  // mask m is that of pair m

 private:
  void find_runs(std::span<const Slot> slots, std::span<const Sequence> sequences);
  void mark(uint32_t first_row, const Sequence& sequence, const KeyRun& run);
  void list(bool by_key, std::vector<TilePair>& pairs, std::vector<TilePairs>& tiles) const;

  uint32_t tiles_ = 0;
  std::vector<uint32_t> row_of_slot_;
  std::vector<KeyRun> runs_;
  std::vector<QueryRow> rows_;
  std::vector<uint32_t> first_run_;  // [sequences + 1]
  std::vector<uint32_t> masks_;      // [query tile][key tile]: no pair, no_mask, or a mask's number
  std::vector<TilePair> by_query_, by_key_, masked_;
  std::vector<TilePairs> queries_, keys_;
};

}  // namespace npr::compute
