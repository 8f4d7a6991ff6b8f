// Every key of every row is some item's, once, in order, whatever shares it.
#include <map>

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
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> parts;  // partial -> row, first span
  std::vector<uint32_t> spans(seen.size()), merged(seen.size());
  CHECK_EQ(plan.rows().size(), seen.size());
  for (const AttentionItem& item : plan.items()) {
    CHECK(item.rows > 0 && item.rows <= limits.item_rows && item.spans > 0);
    CHECK(item.spans == 1 || item.first_span == 0);
    uint32_t most = 0;
    for (uint32_t i = 0; i < item.rows; ++i) {
      const AttentionRow& row = plan.rows()[item.first + i];
      most = std::max(most, row.visible);
      CHECK_EQ(row.visible, seen[row.row].size());
      const uint32_t begin = item.first_span * span_keys, end = begin + item.spans * span_keys;
      CHECK(begin < row.visible);
      for (uint32_t key = begin; key < std::min(row.visible, end); ++key) {
        CHECK_EQ(slots[item.path + key], seen[row.row][key]);
      }
      spans[row.row] += std::min(spans_of(row.visible), item.first_span + item.spans) - item.first_span;
      if (item.first_span == 0 && row.visible <= end) continue;
      CHECK(parts.insert({item.partial + i, {row.row, item.first_span}}).second);
      CHECK(item.partial + i < plan.partials());
    }
    CHECK_EQ(most, item.keys);
  }
  for (const AttentionMerge& merge : plan.merges()) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < merge.count; ++i) {
      const auto [row, span] = parts.at(plan.partial_ids()[merge.first + i]);
      CHECK_EQ(row, merge.row);
      CHECK(i == 0 ? span == 0 : span > last);
      last = span;
    }
    merged[merge.row] = merge.count;
  }
  size_t all = 0;
  for (uint32_t row = 0; row < seen.size(); ++row) {
    CHECK_EQ(spans[row], spans_of(static_cast<uint32_t>(seen[row].size())));
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
                       .narrow_rows = rows / 4,
                       .kv_heads = 1 + random.below(8),
                       .blocks = 1 + random.below(300),
                       .partials = random.below(3) ? 10000u : 20u});
  }
}

TEST(one_long_path_is_shared_out_over_the_device) {
  const Path path{{7, 32768}};
  const Sequence sequence{path, 32768, 1};
  CudaAttentionPlan plan;
  plan.make({&sequence, 1}, {.item_rows = 32, .narrow_rows = 8, .kv_heads = 8, .blocks = 264, .partials = 10000});
  CHECK(plan.items().size() * 8 >= 264);
  CHECK_EQ(plan.merges().size(), 1u);
}

TEST(many_paths_are_not_cut) {
  std::vector<Path> paths;
  std::vector<Sequence> sequences;
  for (uint32_t s = 0; s < 256; ++s) paths.push_back({{s * 1024, 1024}});
  for (const Path& path : paths) sequences.push_back({path, 1024, 1});
  CudaAttentionPlan plan;
  plan.make(sequences, {.item_rows = 32, .narrow_rows = 8, .kv_heads = 8, .blocks = 264, .partials = 10000});
  CHECK_EQ(plan.items().size(), 256u);
  CHECK(plan.merges().empty());
}

TEST(a_shared_trunk_is_read_by_one_item) {
  std::vector<Path> paths;
  std::vector<Sequence> sequences;
  for (uint32_t s = 0; s < 8; ++s) paths.push_back({{0, 4096}, {10000 + 100 * s, 50}});
  for (const Path& path : paths) sequences.push_back({path, 4146, 1});
  CudaAttentionPlan plan;
  plan.make(sequences, {.item_rows = 32, .narrow_rows = 8, .kv_heads = 8, .blocks = 264, .partials = 10000});
  uint64_t keys = 0;
  for (const AttentionItem& item : plan.items()) keys += std::min(item.keys - item.first_span * 512, item.spans * 512);
  CHECK_EQ(keys, 4096u + 8 * 50);
}
