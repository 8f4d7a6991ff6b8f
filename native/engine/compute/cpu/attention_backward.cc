#include "compute/cpu/attention_backward.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "compute/convert.h"
#include "error.h"

namespace npr::compute {
namespace {

constexpr uint32_t block_vectors = 256;  // query vectors that meet a chunk's keys at once: they fit L2 at head_dim 128
constexpr uint32_t no_row = UINT32_MAX;

}  // namespace

AttentionBackward::AttentionBackward(const Kernels& kernels, ThreadPool& threads, const KvPool& pool, uint32_t q_heads)
    : kernels_(kernels),
      threads_(threads),
      pool_(pool),
      q_heads_(q_heads),
      kv_heads_(pool.shape().kv_heads),
      group_(q_heads / kv_heads_),
      head_dim_(pool.shape().head_dim),
      block_rows_(std::max(1u, block_vectors / group_)),
      work_(threads.size()) {
  const size_t vectors = size_t{block_rows_} * group_, elements = vectors * head_dim_;
  const size_t chunk = size_t{chunk_keys} * head_dim_;
  for (Workspace& w : work_) {
    const auto pages = [](size_t bytes) { return Pages(bytes, "gradients of attention"); };
    w.q = pages(elements * kernels.operand_bytes);
    w.g = pages(elements * kernels.operand_bytes);
    if (kernels.operand_bytes != sizeof(bf16)) {
      w.q_rows = pages(elements * sizeof(bf16));
      w.g_rows = pages(elements * sizeof(bf16));
    }
    w.dq = pages(elements * sizeof(float));
    w.tiles = pages(2 * chunk * sizeof(bf16));
    w.key_rows = pages(chunk * sizeof(bf16));
    w.dk = pages(chunk * sizeof(float));
    w.dv = pages(chunk * sizeof(float));
    w.log_sums.resize(vectors);
    w.deltas.resize(vectors);
    w.visible.resize(vectors);
  }
}

void AttentionBackward::plan(const CpuBatch& batch) {
  batch_ = &batch;
  if (planned_ == batch.number) return;
  row_of_slot_.assign(pool_.slots(), no_row);
  for (uint32_t row = 0; row < batch.rows(); ++row) row_of_slot_[batch.slots[row]] = row;
  const auto count = static_cast<uint32_t>(batch.sequences.size());
  std::vector<uint32_t> sequence_of_row(batch.rows()), parent(count);
  std::vector<Rows> rows;
  uint32_t first = 0;
  for (uint32_t s = 0; s < count; ++s) {
    std::fill_n(sequence_of_row.begin() + first, batch.sequences[s].rows, s);
    rows.push_back({first, batch.sequences[s].rows, batch.sequences[s].length, 0});
    first += batch.sequences[s].rows;
  }
  std::iota(parent.begin(), parent.end(), 0u);
  const auto root = [&](uint32_t s) {
    while (parent[s] != s) s = parent[s] = parent[parent[s]];
    return s;
  };
  key_rows_.clear();
  for (uint32_t s = 0; s < count; ++s) {
    rows[s].keys = static_cast<uint32_t>(key_rows_.size());
    uint32_t left = rows[s].length;
    for (const Run& run : batch.sequences[s].path) {
      for (uint32_t i = 0; i < run.count && left; ++i, --left) {
        const uint32_t row = row_of_slot_[run.begin + i];
        ensure(row != no_row, "every key that a row sees is a row of the batch");
        key_rows_.push_back(row);
        const uint32_t a = root(s), b = root(sequence_of_row[row]);
        parent[std::max(a, b)] = std::min(a, b);
      }
    }
  }
  rows_.clear();
  trees_.clear();
  for (uint32_t tree = 0; tree < count; ++tree) {
    if (root(tree) != tree) continue;
    trees_.push_back(static_cast<uint32_t>(rows_.size()));
    for (uint32_t s = tree; s < count; ++s) {
      if (root(s) == tree) rows_.push_back(rows[s]);
    }
  }
  trees_.push_back(static_cast<uint32_t>(rows_.size()));
  planned_ = batch.number;
}

void AttentionBackward::run(const CpuBatch& batch, uint32_t layer, const bf16* q, const bf16* out,
                            const float* log_sums, const float* g, float* d_rotated) {
  plan(batch);
  const Arrays at{layer, q, out, log_sums, g, d_rotated};
  const size_t width = size_t{q_heads_ + 2 * kv_heads_} * head_dim_, queries = size_t{q_heads_} * head_dim_;
  threads_.run(batch.rows(), [&](uint32_t row, uint32_t) {
    std::fill(d_rotated + row * width + queries, d_rotated + (row + 1) * width, 0.0f);
  });
  const auto trees = static_cast<uint32_t>(trees_.size()) - 1;
  threads_.run(trees * kv_heads_, [&](uint32_t task, uint32_t thread) {
    const uint32_t tree = task / kv_heads_, head = task % kv_heads_;
    for (uint32_t s = trees_[tree]; s < trees_[tree + 1]; ++s) {
      for (uint32_t first = 0; first < rows_[s].count; first += block_rows_) {
        run_rows(at, rows_[s], first, std::min(block_rows_, rows_[s].count - first), head, work_[thread]);
      }
    }
  });
}

// Rows [first, first + count) of a sequence.
void AttentionBackward::run_rows(const Arrays& at, const Rows& rows, uint32_t first, uint32_t count, uint32_t head,
                                 Workspace& work) {
  load_vectors(at, rows.first + first, count, head, work);
  const size_t vectors = size_t{count} * group_, width = size_t{q_heads_ + 2 * kv_heads_} * head_dim_;
  const bool as_they_are = kernels_.operand_bytes == sizeof(bf16);
  const bf16* q_rows = (as_they_are ? work.q : work.q_rows).as<bf16>();
  const bf16* g_rows = (as_they_are ? work.g : work.g_rows).as<bf16>();
  std::fill_n(work.dq.as<float>(), vectors * head_dim_, 0.0f);
  const uint32_t seen_by_first = rows.length - rows.count + first + 1, seen_by_last = seen_by_first + count - 1;
  for (uint32_t chunk = 0; chunk < seen_by_last; chunk += chunk_keys) {
    const uint32_t keys = std::min(chunk_keys, seen_by_last - chunk);
    const uint32_t skipped = chunk < seen_by_first ? 0 : chunk - seen_by_first + 1;  // rows that end before the chunk
    for (uint32_t i = skipped; i < count; ++i) {
      std::fill_n(work.visible.begin() + i * group_, group_,
                  static_cast<uint8_t>(std::min(chunk_keys, seen_by_first + i - chunk)));
    }
    const uint32_t* key_rows = key_rows_.data() + rows.keys + chunk;
    load_chunk(at.layer, head, key_rows, keys, work);
    const size_t vector = size_t{skipped} * group_, element = vector * head_dim_;
    kernels_.attend_backward({.head_dim = head_dim_,
                              .vectors = (count - skipped) * group_,
                              .keys = keys,
                              .q = work.q.as<std::byte>() + element * kernels_.operand_bytes,
                              .g = work.g.as<std::byte>() + element * kernels_.operand_bytes,
                              .q_rows = q_rows + element,
                              .g_rows = g_rows + element,
                              .visible = work.visible.data() + vector,
                              .log_sums = work.log_sums.data() + vector,
                              .deltas = work.deltas.data() + vector,
                              .key_tiles = work.tiles.as<bf16>(),
                              .value_tiles = work.tiles.as<bf16>() + size_t{chunk_keys} * head_dim_,
                              .key_rows = work.key_rows.as<bf16>(),
                              .scale = 1.0f / std::sqrt(static_cast<float>(head_dim_)),
                              .dq = work.dq.as<float>() + element,
                              .dk = work.dk.as<float>(),
                              .dv = work.dv.as<float>()});
    for (uint32_t i = 0; i < keys; ++i) {
      float* dk = at.d_rotated + key_rows[i] * width + size_t{q_heads_ + head} * head_dim_;
      float* dv = dk + size_t{kv_heads_} * head_dim_;
      kernels_.add(work.dk.as<float>() + size_t{i} * head_dim_, head_dim_, dk);
      kernels_.add(work.dv.as<float>() + size_t{i} * head_dim_, head_dim_, dv);
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    std::copy_n(work.dq.as<float>() + size_t{i} * group_ * head_dim_, size_t{group_} * head_dim_,
                at.d_rotated + (rows.first + first + i) * width + size_t{head} * group_ * head_dim_);
  }
}

// Queries of rows [row, row + count), and what is known of their outputs.
void AttentionBackward::load_vectors(const Arrays& at, uint32_t row, uint32_t count, uint32_t head,
                                     Workspace& work) const {
  const size_t elements = size_t{group_} * head_dim_;
  for (uint32_t i = 0; i < count; ++i) {
    const size_t vector = (size_t{row + i} * kv_heads_ + head) * group_, from = vector * head_dim_, to = i * elements;
    const auto n = static_cast<uint32_t>(elements);
    kernels_.operands(at.q + from, n, work.q.as<std::byte>() + to * kernels_.operand_bytes);
    kernels_.float_operands(at.g + from, n, work.g.as<std::byte>() + to * kernels_.operand_bytes);
    if (kernels_.operand_bytes != sizeof(bf16)) {
      std::copy_n(at.q + from, elements, work.q_rows.as<bf16>() + to);
      kernels_.round(at.g + from, n, work.g_rows.as<bf16>() + to);
    }
    for (uint32_t v = 0; v < group_; ++v) {
      work.log_sums[i * group_ + v] = at.log_sums[vector + v];
      float delta = 0;
      for (uint32_t e = 0; e < head_dim_; ++e) {
        delta += at.g[from + v * head_dim_ + e] * to_float(at.out[from + v * head_dim_ + e]);
      }
      work.deltas[i * group_ + v] = delta;
    }
  }
}

// Keys and values of some rows of the batch; zeros behind them.
void AttentionBackward::load_chunk(uint32_t layer, uint32_t head, const uint32_t* keys, uint32_t count,
                                   Workspace& work) const {
  const size_t chunk = size_t{chunk_keys} * head_dim_, tile = size_t{tile_slots} * head_dim_;
  bf16* key_tiles = work.tiles.as<bf16>();
  bf16* value_tiles = key_tiles + chunk;
  bf16* rows = work.key_rows.as<bf16>();
  if (count < chunk_keys) {
    std::memset(key_tiles, 0, 2 * chunk * sizeof(bf16));
    std::memset(rows, 0, chunk * sizeof(bf16));
  }
  for (uint32_t i = 0; i < count; ++i) {
    const Slot slot = batch_->slots[keys[i]];
    const bf16* key = pool_.keys(layer, head, slot / tile_slots) + slot % tile_slots * 2;
    const bf16* value = pool_.value_lane(layer, head, slot);
    const size_t at = i / tile_slots * tile + i % tile_slots * 2;
    for (uint32_t e = 0; e < head_dim_; e += 2) {
      const size_t pair = e * size_t{tile_slots};
      std::memcpy(rows + i * head_dim_ + e, key + pair, 2 * sizeof(bf16));
      std::memcpy(key_tiles + at + pair, key + pair, 2 * sizeof(bf16));
      value_tiles[at + pair] = value[2 * e];
      value_tiles[at + pair + 1] = value[2 * e + 2];
    }
  }
  std::memset(work.dk.as<float>(), 0, chunk * sizeof(float));
  std::memset(work.dv.as<float>(), 0, chunk * sizeof(float));
}

}  // namespace npr::compute
