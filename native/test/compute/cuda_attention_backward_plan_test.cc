// Pairs of tiles, and the runs that masks are made from, against who sees whom, row by row.
#include <algorithm>

#include "check.h"
#include "compute/cuda/attention_backward_plan.h"
#include "compute/support.h"

using namespace npr::compute;
using support::Random;

namespace {

// A prompt, responses that fork off it and off each other, and what joins all of one block: as packing lays them out.
struct Batch {
  std::vector<Slot> slots;
  std::vector<std::vector<Slot>> paths;
  std::vector<uint32_t> rows;
};

Batch random_batch(Random& random) {
  Batch batch;
  Slot next = random.below(5);
  const uint32_t unit = random.below(2) ? 64 : 1;  // tiles begin where sequences do, or anywhere
  for (uint32_t s = 0, count = 1 + random.below(7); s < count; ++s) {
    std::vector<Slot> path;
    if (s && random.below(5)) path = batch.paths[random.below(s)];
    if (s > 2 && random.below(3) == 0) {
      path = batch.paths[0];
      for (const uint32_t other : {1, 2}) {
        for (const Slot slot : batch.paths[other]) {
          if (std::find(path.begin(), path.end(), slot) == path.end()) path.push_back(slot);
        }
      }
    }
    const uint32_t own = unit * (1 + random.below(200 / unit));
    for (uint32_t i = 0; i < own; ++i) {
      batch.slots.push_back(next);
      path.push_back(next++);
    }
    next += random.below(3);
    batch.paths.push_back(path);
    batch.rows.push_back(own);
  }
  return batch;
}

}  // namespace

TEST(pairs_and_runs_tell_who_sees_whom) {
  Random random(11);
  uint32_t whole = 0;  // pairs without a mask
  for (uint32_t i = 0; i < 60; i += check::stride()) {
    const Batch batch = random_batch(random);
    std::vector<Path> paths;
    std::vector<Sequence> sequences;
    for (const auto& slots : batch.paths) {
      Path& path = paths.emplace_back();
      for (const Slot slot : slots) path.push_back({slot, 1});
    }
    for (size_t s = 0; s < paths.size(); ++s) {
      sequences.push_back({paths[s], static_cast<uint32_t>(paths[s].size()), batch.rows[s]});
    }
    AttentionBackwardPlan plan;
    plan.make(batch.slots, sequences);

    const size_t rows = batch.slots.size(), tiles = (rows + tile_rows - 1) / tile_rows, padded = tiles * tile_rows;
    std::vector<uint8_t> sees(padded * padded);
    size_t row = 0;
    for (size_t s = 0; s < paths.size(); ++s) {
      for (uint32_t r = 0; r < batch.rows[s]; ++r, ++row) {
        for (size_t k = 0; k + batch.rows[s] <= batch.paths[s].size() + r; ++k) {
          const auto at = std::find(batch.slots.begin(), batch.slots.end(), batch.paths[s][k]) - batch.slots.begin();
          sees[row * padded + static_cast<size_t>(at)] = 1;
        }
      }
    }
    CHECK_EQ(row, rows);
    std::vector<uint8_t> by_runs(padded * padded);
    for (row = 0; row < rows; ++row) {
      const QueryRow& query = plan.rows()[row];
      for (uint32_t r = query.first_run; r < query.first_run + query.runs; ++r) {
        const KeyRun& run = plan.runs()[r];
        for (uint32_t k = 0; k < run.count && run.start + k < query.visible; ++k)
          by_runs[row * padded + run.row + k] = 1;
      }
    }
    CHECK(by_runs == sees);
    std::vector<uint32_t> listed(tiles * tiles);  // 1: by query, 2: by key
    const auto list = [&](const std::vector<TilePairs>& of, const std::vector<TilePair>& pairs, bool by_key) {
      CHECK_EQ(of.size(), tiles);
      for (const TilePairs& tile : of) {
        for (uint32_t p = tile.first; p < tile.first + tile.count; ++p) {
          CHECK_EQ(by_key ? pairs[p].key : pairs[p].query, tile.tile);
          listed[pairs[p].query * tiles + pairs[p].key] += by_key ? 2 : 1;
        }
      }
    };
    list(plan.queries(), plan.by_query(), false);
    list(plan.keys(), plan.by_key(), true);
    uint32_t masks = 0;
    for (const TilePair& pair : plan.by_query()) {
      size_t seen = 0;
      for (uint32_t q = 0; q < tile_rows; ++q) {
        for (uint32_t k = 0; k < tile_rows; ++k) {
          seen += sees[(pair.query * tile_rows + q) * padded + pair.key * tile_rows + k];
        }
      }
      CHECK(seen > 0);
      if (pair.mask == no_mask) {
        CHECK_EQ(seen, size_t{tile_rows} * tile_rows);
        ++whole;
        continue;
      }
      const TilePair& masked = plan.masked()[pair.mask];
      CHECK(masked.query == pair.query && masked.key == pair.key);
      ++masks;
    }
    CHECK_EQ(plan.masked().size(), masks);
    for (size_t q = 0; q < padded; ++q) {
      for (size_t k = 0; k < padded; ++k) {
        if (sees[q * padded + k]) CHECK_EQ(listed[q / tile_rows * tiles + k / tile_rows], 3u);
      }
    }
  }
  CHECK(whole > 0);
}
