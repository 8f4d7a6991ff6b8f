#include "compute/cuda/attention_backward_plan.h"

#include <algorithm>

#include "error.h"

namespace npr::compute {
namespace {

constexpr uint32_t no_row = UINT32_MAX;
constexpr uint32_t no_pair = UINT32_MAX - 1, some_mask = UINT32_MAX - 2;

}  // namespace

void AttentionBackwardPlan::make(std::span<const Slot> slots, std::span<const Sequence> sequences) {
  tiles_ = (static_cast<uint32_t>(slots.size()) + tile_rows - 1) / tile_rows;
  find_runs(slots, sequences);
  masks_.assign(size_t{tiles_} * tiles_, no_pair);
  uint32_t first_row = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    for (uint32_t r = first_run_[s]; r < first_run_[s + 1]; ++r) mark(first_row, sequences[s], runs_[r]);
    first_row += sequences[s].rows;
  }
  masked_.clear();
  for (uint32_t query = 0; query < tiles_; ++query) {
    for (uint32_t key = 0; key < tiles_; ++key) {
      uint32_t& mask = masks_[size_t{query} * tiles_ + key];
      if (mask != some_mask) continue;
      mask = static_cast<uint32_t>(masked_.size());
      masked_.push_back({query, key, mask});
    }
  }
  list(false, by_query_, queries_);
  list(true, by_key_, keys_);
}

void AttentionBackwardPlan::find_runs(std::span<const Slot> slots, std::span<const Sequence> sequences) {
  const uint32_t last = slots.empty() ? 0 : *std::max_element(slots.begin(), slots.end());
  row_of_slot_.assign(size_t{last} + 1, no_row);
  for (uint32_t row = 0; row < slots.size(); ++row) row_of_slot_[slots[row]] = row;
  runs_.clear();
  rows_.clear();
  first_run_.assign(1, 0);
  for (const Sequence& sequence : sequences) {
    uint32_t keys = 0;
    for (const Run& run : sequence.path) {
      for (uint32_t i = 0; i < run.count && keys < sequence.length; ++i, ++keys) {
        const Slot slot = run.begin + i;
        ensure(slot <= last && row_of_slot_[slot] != no_row, "every key that a row sees is a row of the batch");
        const uint32_t row = row_of_slot_[slot];
        if (keys > 0 && runs_.back().row + runs_.back().count == row) {
          ++runs_.back().count;
        } else {
          runs_.push_back({row, 1, keys});
        }
      }
    }
    ensure(keys == sequence.length, "a path is as long as its sequence");
    const auto end = static_cast<uint32_t>(runs_.size());
    for (uint32_t r = 0; r < sequence.rows; ++r) {
      rows_.push_back({first_run_.back(), end - first_run_.back(), sequence.length - sequence.rows + r + 1});
    }
    first_run_.push_back(end);
  }
  ensure(rows_.size() == slots.size(), "a batch has the rows of its sequences");
}

// Pairs of tiles between the rows of a sequence, from `first_row` on, and a run of its path.
void AttentionBackwardPlan::mark(uint32_t first_row, const Sequence& sequence, const KeyRun& run) {
  const uint32_t end_row = first_row + sequence.rows;
  const auto seen_of_run = [&](uint32_t row) {  // keys
    const uint32_t visible = rows_[row].visible;
    return visible <= run.start ? 0 : std::min(run.count, visible - run.start);
  };
  for (uint32_t query = first_row / tile_rows; query * tile_rows < end_row; ++query) {
    const uint32_t first = std::max(first_row, query * tile_rows), end = std::min(end_row, (query + 1) * tile_rows);
    const uint32_t most = seen_of_run(end - 1);
    if (most == 0) continue;
    const bool whole = end - first == tile_rows;
    const uint32_t seen_by_all = run.row + (whole ? seen_of_run(first) : 0);
    for (uint32_t key = run.row / tile_rows; key * tile_rows < run.row + most; ++key) {
      const bool all = key * tile_rows >= run.row && (key + 1) * tile_rows <= seen_by_all;
      masks_[size_t{query} * tiles_ + key] = all ? no_mask : some_mask;
    }
  }
}

void AttentionBackwardPlan::list(bool by_key, std::vector<TilePair>& pairs, std::vector<TilePairs>& tiles) const {
  pairs.clear();
  tiles.clear();
  for (uint32_t tile = 0; tile < tiles_; ++tile) {
    const auto first = static_cast<uint32_t>(pairs.size());
    for (uint32_t other = 0; other < tiles_; ++other) {
      const uint32_t query = by_key ? other : tile, key = by_key ? tile : other;
      const uint32_t mask = masks_[size_t{query} * tiles_ + key];
      if (mask != no_pair) pairs.push_back({query, key, mask});
    }
    tiles.push_back({tile, first, static_cast<uint32_t>(pairs.size()) - first});
  }
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const TilePairs& a, const TilePairs& b) { return a.count > b.count; });
}

}  // namespace npr::compute
