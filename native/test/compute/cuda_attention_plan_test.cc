// Every key of every row is some item's, once, in order, whatever shares it.
#include <map>
#include <set>

#include "check.h"
#include "compute/cuda/attention_plan.h"
#include "compute/support.h"

using namespace npr::compute;
using support::Random;

namespace {

// Sequences that fork off each other at random places, in slots of random runs.
struct Batch {
  std::vector<Path> paths;
  std::vector<Sequence> sequences;
};

std::vector<Slot> written_out(const Path& path, uint32_t length) {
  std::vector<Slot> out;
  for (const Run& run : path) {
    for (uint32_t i = 0; i < run.count && out.size() < length; ++i) out.push_back(run.begin + i);
  }
  return out;
}

Batch random_batch(Random& random, uint32_t count) {
  Batch batch;
  Slot fresh = 0;
  for (uint32_t s = 0; s < count; ++s) {
    std::vector<Slot> slots;
    if (s && random.below(4)) {
      const Path& other = batch.paths[random.below(s)];
      slots = written_out(other, UINT32_MAX);
      slots.resize(1 + random.below(static_cast<uint32_t>(slots.size())));
    }
    const uint32_t own = 1 + random.below(random.below(3) ? 40 : 1800);
    for (uint32_t i = 0; i < own; ++i) slots.push_back(fresh += random.below(30) ? 1 : 5);
    Path& path = batch.paths.emplace_back();
    for (const Slot slot : slots) {
      if (!path.empty() && path.back().begin + path.back().count == slot) {
        ++path.back().count;
      } else {
        path.push_back({slot, 1});
      }
    }
    const auto length = static_cast<uint32_t>(slots.size());
    batch.sequences.push_back({{}, length, random.below(3) ? 1 : 1 + random.below(own)});
  }
  for (uint32_t s = 0; s < count; ++s) batch.sequences[s].path = batch.paths[s];
  return batch;
}

void check_plan(const Batch& batch, const AttentionLimits& limits) {
  CudaAttentionPlan plan;
  plan.make(batch.sequences, limits);
  std::vector<std::vector<Slot>> seen;  // of each row of the batch
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const Sequence& sequence = batch.sequences[s];
    const auto slots = written_out(batch.paths[s], sequence.length);
    for (uint32_t r = 0; r < sequence.rows; ++r) {
      seen.emplace_back(slots.begin(), slots.end() - sequence.rows + r + 1);
    }
  }
  std::vector<Slot> slots(plan.slots());
  for (const AttentionPath& path : plan.paths()) {
    for (uint32_t i = 0; i < path.runs; ++i) {
      const AttentionRun& run = plan.runs()[path.first_run + i];
      const uint32_t end = i + 1 < path.runs ? plan.runs()[path.first_run + i + 1].start : path.length;
      for (uint32_t key = run.start; key < end; ++key) slots[path.slots + key] = run.slot + (key - run.start);
    }
  }
  std::set<Slot> written;
  for (size_t s = 0, row = 0; s < batch.sequences.size(); row += batch.sequences[s++].rows) {
    const auto& all = seen[row + batch.sequences[s].rows - 1];
    written.insert(all.end() - batch.sequences[s].rows, all.end());
  }
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> parts;  // partial -> row, key where it begins
  std::vector<uint32_t> keys(seen.size()), merged(seen.size());
  CHECK_EQ(plan.rows().size(), seen.size());
  for (const AttentionItem& item : plan.items()) {
    CHECK(item.rows > 0 && item.rows <= limits.item_rows && item.begin < item.end);
    CHECK(item.limit == unit_begin(item.last_unit + 1) && item.end <= item.limit);
    CHECK(item.begin == 0 || item.begin == unit_begin(item.last_unit));
    CHECK(item.slot != scattered || plan.any_scattered());
    uint32_t most = 0, least = UINT32_MAX;
    for (uint32_t i = 0; i < item.rows; ++i) {
      const AttentionRow& row = plan.rows()[item.first + i];
      const auto& path = seen[row.row];
      most = std::max(most, row.visible);
      least = std::min(least, row.visible);
      CHECK_EQ(row.visible, path.size());
      CHECK(item.begin < row.visible);
      for (uint32_t key = item.begin; key < std::min(row.visible, item.limit); ++key) {
        CHECK_EQ(slots[item.path + key], path[key]);
        if (item.slot != scattered) CHECK_EQ(item.slot + (key - item.begin), path[key]);
        if (key < item.settled) CHECK(!written.contains(path[key]));
      }
      keys[row.row] += std::min(row.visible, item.limit) - item.begin;
      if (item.begin == 0 && row.visible <= item.limit) continue;
      const uint32_t partial = row.partials + item.last_unit;
      CHECK(parts.insert({partial, {row.row, item.begin}}).second);
      CHECK(partial < plan.partials());
    }
    CHECK_EQ(std::min(most, item.limit), item.end);
    CHECK_EQ(least, item.least);
  }
  for (const AttentionMerge& merge : plan.merges()) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < merge.count; ++i) {
      const auto [row, begin] = parts.at(merge.first + i);
      CHECK_EQ(row, merge.row);
      CHECK(i == 0 ? begin == 0 : begin > last);
      last = begin;
    }
    merged[merge.row] = merge.count;
  }
  size_t all = 0;
  for (uint32_t row = 0; row < seen.size(); ++row) {
    CHECK_EQ(keys[row], seen[row].size());
    all += merged[row];
  }
  CHECK_EQ(all, parts.size());
}

}  // namespace

TEST(every_key_is_seen_once_in_order) {
  Random random(5);
  for (uint32_t i = 0; i < 150; i += check::stride()) {
    const Batch batch = random_batch(random, 1 + random.below(40));
    const uint32_t rows = 1 + random.below(32);
    check_plan(batch, {.item_rows = rows,
                       .kv_heads = 1 + random.below(8),
                       .blocks = 1 + random.below(300),
                       .partials = random.below(3) ? 10000u : 20u});
  }
}

TEST(units_follow_each_other) {
  CHECK_EQ(unit_begin(0), 0u);
  for (uint32_t unit = 0; unit < 60; ++unit) {
    const uint32_t begin = unit_begin(unit), end = unit_begin(unit + 1);
    CHECK_EQ(end - begin, begin < short_keys ? short_unit : long_unit);
    CHECK_EQ(units_of(begin), unit);
    CHECK_EQ(units_of(begin + 1), unit + 1);
    CHECK_EQ(units_of(end), unit + 1);
    CHECK_EQ(whole_units(end - 1), unit);
    CHECK_EQ(whole_units(end), unit + 1);
  }
}

TEST(one_long_path_is_shared_out_over_the_device) {
  const Path path{{7, 32768}};
  const Sequence sequence{path, 32768, 1};
  CudaAttentionPlan plan;
  plan.make({&sequence, 1}, {.item_rows = 16, .kv_heads = 8, .blocks = 264, .partials = 10000});
  CHECK(plan.items().size() * 8 >= 264);
  CHECK_EQ(plan.merges().size(), 1u);
  CHECK(!plan.any_scattered());
  for (const AttentionItem& item : plan.items()) CHECK_EQ(item.settled, 32767u);
}

TEST(many_paths_are_not_cut) {
  std::vector<Path> paths;
  std::vector<Sequence> sequences;
  for (uint32_t s = 0; s < 256; ++s) paths.push_back({{s * 1024, 1024}});
  for (const Path& path : paths) sequences.push_back({path, 1024, 1});
  CudaAttentionPlan plan;
  plan.make(sequences, {.item_rows = 16, .kv_heads = 8, .blocks = 264, .partials = 10000});
  CHECK_EQ(plan.items().size(), 256u);
  CHECK(plan.merges().empty());
}

TEST(a_shared_trunk_is_read_by_one_item) {
  std::vector<Path> paths;
  std::vector<Sequence> sequences;
  for (uint32_t s = 0; s < 8; ++s) paths.push_back({{0, 4096}, {10000 + 100 * s, 50}});
  for (const Path& path : paths) sequences.push_back({path, 4146, 1});
  CudaAttentionPlan plan;
  plan.make(sequences, {.item_rows = 16, .kv_heads = 8, .blocks = 264, .partials = 10000});
  uint64_t keys = 0;
  for (const AttentionItem& item : plan.items()) keys += item.end - item.begin;
  CHECK_EQ(keys, 4096u + 8 * 50);
}
