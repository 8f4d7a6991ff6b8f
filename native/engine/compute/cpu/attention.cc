#include "compute/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace npr::compute {
namespace {

constexpr uint32_t item_vectors = 256;           // query vectors of an item: their state (200 KiB) stays in L2
constexpr size_t wave_bytes = size_t{32} << 20;  // of partial results
constexpr uint32_t most_pieces = 8;              // of a chunk, before its keys are gathered first
// Of results to be merged, under which waking the threads costs more than it brings.
constexpr size_t least_elements = size_t{1} << 13;

uint32_t group_rows(uint32_t group) { return std::max(1u, item_vectors / group); }

// The chunk's keys as lanes of the tiles they lie in.
uint32_t find_pieces(const KvPool& pool, uint32_t layer, uint32_t head, std::span<const Slot> slots, KeyPiece* out) {
  uint32_t count = 0;
  for (uint32_t key = 0; key < slots.size();) {
    const uint32_t lane = slots[key] % tile_slots;
    uint32_t n = 1;
    while (key + n < slots.size() && lane + n < tile_slots && slots[key + n] == slots[key] + n) ++n;
    out[count++] = {pool.keys(layer, head, slots[key] / tile_slots), static_cast<uint8_t>(lane),
                    static_cast<uint8_t>(key), static_cast<uint8_t>(n)};
    key += n;
  }
  return count;
}

// Copies scattered keys into whole tiles; returns how many.
uint32_t gather_pieces(KeyPiece* pieces, uint32_t count, uint32_t head_dim, bf16* tiles) {
  const size_t tile = size_t{tile_slots} * head_dim;
  uint32_t keys = 0;
  for (uint32_t p = 0; p < count; ++p) {
    for (uint32_t i = 0; i < pieces[p].count; ++i, ++keys) {
      const bf16* from = pieces[p].tile + 2 * (pieces[p].lane + i);
      bf16* to = tiles + keys / tile_slots * tile + 2 * (keys % tile_slots);
      for (uint32_t pair = 0; pair < head_dim / 2; ++pair) std::memcpy(to + 32 * pair, from + 32 * pair, 4);
    }
  }
  uint32_t gathered = 0;
  for (uint32_t first = 0; first < keys; first += tile_slots, ++gathered) {
    pieces[gathered] = {tiles + gathered * tile, 0, static_cast<uint8_t>(first),
                        static_cast<uint8_t>(std::min(tile_slots, keys - first))};
  }
  return gathered;
}

}  // namespace

Attention::Attention(const Kernels& kernels, ThreadPool& threads, const KvPool& pool, uint32_t q_heads)
    : kernels_(kernels),
      threads_(threads),
      pool_(pool),
      kv_heads_(pool.shape().kv_heads),
      group_(q_heads / pool.shape().kv_heads),
      head_dim_(pool.shape().head_dim),
      scale_(1.0f / std::sqrt(static_cast<float>(pool.shape().head_dim))),
      work_(threads.size()) {
  const size_t vectors = size_t{group_rows(group_)} * group_;
  for (Workspace& w : work_) {
    w.q = Pages(vectors * head_dim_ * kernels.operand_bytes, "attention");
    w.keys = Pages(chunk_keys * size_t{head_dim_} * sizeof(bf16), "attention");
    w.probabilities = Pages(vectors * chunk_keys * kernels.operand_bytes, "attention");
    w.visible.resize(vectors);
  }
}

void Attention::begin(std::span<const Sequence> sequences) {
  const size_t member_bytes = size_t{kv_heads_} * group_ * head_dim_ * sizeof(float);
  plan_.make(sequences, group_rows(group_), static_cast<uint32_t>(wave_bytes / member_bytes));
  if (const size_t members = plan_.most_members(); members > capacity_) {
    capacity_ = members + members / 2;
    outs_ = Pages(capacity_ * member_bytes, "attention");
    stats_ = Pages(capacity_ * kv_heads_ * group_ * 2 * sizeof(float), "attention");
  }
}

Attention::Block Attention::block(const Wave& wave, const SpanItem& item, uint32_t head) {
  const size_t vectors = size_t{item.count} * group_;
  const size_t before = size_t{item.first - wave.first_member} * kv_heads_ * group_ + head * vectors;
  float* max = stats_.as<float>() + before * 2;
  return {outs_.as<float>() + before * head_dim_, max, max + vectors};
}

void Attention::run(uint32_t layer, const bf16* q, bf16* out, float* log_sums) {
  for (const Wave& wave : plan_.waves()) {
    // heads of one item are far apart in memory, items of one head near: neighbours in time share what they read
    const auto item = [&](uint32_t task) -> const SpanItem& {
      return plan_.items()[wave.first_item + task % wave.items];
    };
    const uint32_t tasks = wave.items * kv_heads_;
    threads_.run_ahead(tasks, [&](uint32_t task, uint32_t following, uint32_t thread) {
      NextTiles after{};
      if (following < tasks) after = first_tiles(item(following), layer, following / wave.items);
      run_item(wave, item(task), layer, task / wave.items, q, after, work_[thread]);
    });
    const uint32_t merges = wave.rows * kv_heads_;
    const auto merge = [&](uint32_t task, uint32_t) {
      merge_row(wave, plan_.rows()[wave.first_row + task / kv_heads_], task % kv_heads_, out, log_sums);
    };
    if (size_t{merges} * group_ * head_dim_ < least_elements) {
      for (uint32_t task = 0; task < merges; ++task) merge(task, 0);
    } else {
      threads_.run(merges, merge);
    }
  }
}

NextTiles Attention::tiles_of(const Member& member, uint32_t chunk, uint32_t layer, uint32_t head) const {
  NextTiles out{};
  if (chunk >= member.visible) return out;
  Slot slots[chunk_keys];
  const uint32_t keys = std::min(chunk_keys, member.visible - chunk);
  plan_.slots(member.sequence, chunk, keys, slots);
  // the last of each sixteen: the first may lie in a tile of the chunk before
  for (uint32_t n = 0; n < next_tiles; ++n) {
    out.tile[n] = pool_.keys(layer, head, slots[std::min(keys, (n + 1) * tile_slots) - 1] / tile_slots);
  }
  return out;
}

NextTiles Attention::first_tiles(const SpanItem& item, uint32_t layer, uint32_t head) const {
  return tiles_of(plan_.members()[item.first], item.span * span_keys, layer, head);
}

void Attention::run_item(const Wave& wave, const SpanItem& item, uint32_t layer, uint32_t head, const bf16* q,
                         const NextTiles& after, Workspace& work) {
  const Member* members = plan_.members().data() + item.first;
  const size_t row_elements = size_t{group_} * head_dim_;
  uint32_t most = 0;
  for (uint32_t m = 0; m < item.count; ++m) {
    kernels_.operands(q + (size_t{members[m].row} * kv_heads_ + head) * row_elements,
                      static_cast<uint32_t>(row_elements),
                      work.q.as<std::byte>() + m * row_elements * kernels_.operand_bytes);
    most = std::max(most, members[m].visible);
  }
  const Block result = block(wave, item, head);
  const size_t vectors = size_t{item.count} * group_;
  std::fill_n(result.out, vectors * head_dim_, 0.0f);
  std::fill_n(result.max, vectors, -std::numeric_limits<float>::infinity());
  std::fill_n(result.sum, vectors, 0.0f);

  const uint32_t end_key = std::min(most, (item.span + 1) * span_keys);
  for (uint32_t chunk = item.span * span_keys; chunk < end_key; chunk += chunk_keys) {
    // neighbours that see the chunk in the same slots take it together
    for (uint32_t first = 0, end; first < item.count; first = end) {
      end = first + 1;
      if (members[first].visible <= chunk) continue;
      while (end < item.count && members[end].visible > chunk && members[end].shared >= chunk + chunk_keys) ++end;
      run_chunk(item, first, end, chunk, layer, head, result, chunk + chunk_keys < end_key ? nullptr : &after, work);
    }
  }
}

void Attention::run_chunk(const SpanItem& item, uint32_t first, uint32_t end, uint32_t chunk, uint32_t layer,
                          uint32_t head, const Block& result, const NextTiles* after, Workspace& work) {
  const Member* members = plan_.members().data() + item.first;
  const Member* widest = members + first;
  for (uint32_t m = first; m < end; ++m) {
    const auto seen = static_cast<uint8_t>(std::min(chunk_keys, members[m].visible - chunk));
    std::fill_n(work.visible.begin() + m * group_, group_, seen);
    if (members[m].visible > widest->visible) widest = members + m;
  }
  const uint32_t keys = std::min(chunk_keys, widest->visible - chunk);
  Slot slots[chunk_keys];
  plan_.slots(widest->sequence, chunk, keys, slots);
  const bf16* values[chunk_keys];
  bool paired = true;
  for (uint32_t i = 0; i < keys; ++i) {
    values[i] = pool_.value_lane(layer, head, slots[i]);
    if (i % 2) paired = paired && KvPool::are_pair(slots[i - 1], slots[i]);
  }
  KeyPiece pieces[chunk_keys];
  uint32_t count = find_pieces(pool_, layer, head, {slots, keys}, pieces);
  if (count > most_pieces) count = gather_pieces(pieces, count, head_dim_, work.keys.as<bf16>());

  const size_t vector = size_t{first} * group_;
  ChunkTask task{.head_dim = head_dim_,
                 .vectors = (end - first) * group_,
                 .q = work.q.as<std::byte>() + vector * head_dim_ * kernels_.operand_bytes,
                 .visible = work.visible.data() + vector,
                 .pieces = pieces,
                 .piece_count = count,
                 .values = values,
                 .paired = paired,
                 .keys = keys,
                 .next = after ? *after : tiles_of(*widest, chunk + chunk_keys, layer, head),
                 .scale = scale_,
                 .max = result.max + vector,
                 .sum = result.sum + vector,
                 .out = result.out + vector * head_dim_,
                 .probabilities = work.probabilities.as<std::byte>()};
  kernels_.attend(task);
}

void Attention::merge_row(const Wave& wave, const PlannedRow& row, uint32_t head, bf16* out, float* log_sums) {
  for (uint32_t g = 0; g < group_; ++g) {
    const auto vector_of = [&](const Partial& at) { return size_t{at.member} * group_ + g; };
    const Partial& start = plan_.partials()[row.first_partial];
    const Block first = block(wave, plan_.items()[start.item], head);
    float max = first.max[vector_of(start)], sum = first.sum[vector_of(start)];
    const float* result = first.out + vector_of(start) * head_dim_;
    float total[256];  // head_dim is at most 256
    if (row.partials > 1) {
      std::copy_n(result, head_dim_, total);
      result = total;
    }
    for (uint32_t p = row.first_partial + 1; p < row.first_partial + row.partials; ++p) {
      const Partial& at = plan_.partials()[p];
      const Block part = block(wave, plan_.items()[at.item], head);
      kernels_.merge(&max, &sum, total, part.max[vector_of(at)], part.sum[vector_of(at)],
                     part.out + vector_of(at) * head_dim_, head_dim_);
    }
    const size_t vector = (size_t{row.row} * kv_heads_ + head) * group_ + g;
    kernels_.finish(result, sum, head_dim_, out + vector * head_dim_);
    if (log_sums) log_sums[vector] = max + std::log(sum);
  }
}

}  // namespace npr::compute
