// Runs flat sequences through a model, whole or in any chunks, and returns the logits of every token.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "branch/layout.h"
#include "compute/test_backend.h"
#include "error.h"
#include "model/checkpoint.h"
#include "model/model.h"

namespace test {

using npr::branch::Interval;
using npr::branch::Layout;
using npr::compute::Isa;
using npr::compute::Slot;
using npr::compute::WeightFormat;
using npr::model::Batch;
using npr::model::Model;
using support::machine_isas;

// A flat sequence, and the slot that each of its tokens is kept in.
struct Flat {
  std::vector<int32_t> tokens;
  Layout layout;
  std::vector<Slot> slots;  // [tokens]
};

inline std::vector<Slot> slots_from(Slot first, size_t count) {
  std::vector<Slot> slots(count);
  std::iota(slots.begin(), slots.end(), first);
  return slots;
}

// A chunk: tokens [begin, end) of a flat sequence, all of one piece of its layout.
struct Chunk {
  const Flat* flat;
  uint32_t begin, end;
};

// Cuts every piece into chunks of at most `size` tokens, in flat order.
inline std::vector<Chunk> chunks_of(const Flat& flat, uint32_t size) {
  std::vector<Chunk> chunks;
  for (const auto& piece : flat.layout.pieces) {
    for (uint32_t at = piece.begin; at < piece.end; at += size)
      chunks.push_back({&flat, at, std::min(at + size, piece.end)});
  }
  return chunks;
}

inline void append_run(npr::compute::Path& path, Slot slot) {
  if (!path.empty() && path.back().begin + path.back().count == slot) {
    ++path.back().count;
  } else {
    path.push_back({slot, 1});
  }
}

// The slots that the last token of the chunk sees, its own included, in flat order.
inline npr::compute::Path path_of(const Chunk& chunk) {
  const auto& pieces = chunk.flat->layout.pieces;
  const auto piece = std::find_if(pieces.begin(), pieces.end(), [&](const auto& p) { return chunk.begin < p.end; });
  npr::compute::Path path;
  for (const Interval& seen : piece->context) {
    for (uint32_t i = seen.begin; i < seen.end; ++i) append_run(path, chunk.flat->slots[i]);
  }
  for (uint32_t i = piece->begin; i < chunk.end; ++i) append_run(path, chunk.flat->slots[i]);
  return path;
}

// One forward step over the chunks; returns logits [rows, vocab] of all their tokens.
inline std::vector<float> step(Model& model, std::span<const Chunk> chunks) {
  Batch batch;
  std::vector<npr::compute::Path> paths;
  for (const Chunk& chunk : chunks) {
    for (uint32_t i = chunk.begin; i < chunk.end; ++i) {
      batch.tokens.push_back(chunk.flat->tokens[i]);
      batch.positions.push_back(chunk.flat->layout.positions[i]);
      batch.slots.push_back(chunk.flat->slots[i]);
      batch.logit_rows.push_back(batch.rows() - 1);
    }
    paths.push_back(path_of(chunk));
  }
  for (size_t i = 0; i < chunks.size(); ++i) {
    uint32_t length = 0;
    for (const auto& run : paths[i]) length += run.count;
    batch.sequences.push_back({paths[i], length, chunks[i].end - chunks[i].begin});
  }
  model.forward(batch);
  std::vector<float> logits;
  for (uint32_t first = 0; first < batch.rows(); first += model.max_logit_rows()) {
    const uint32_t count = std::min(model.max_logit_rows(), batch.rows() - first);
    const auto block = model.backend().host(model.logits(first, count), size_t{count} * model.config().vocab_size);
    logits.insert(logits.end(), block.begin(), block.end());
  }
  return logits;
}

// The whole sequence in one step; its branches see slots that other sequences of the batch fill.
inline std::vector<float> whole(Model& model, const Flat& flat) {
  return step(model, chunks_of(flat, static_cast<uint32_t>(flat.tokens.size())));
}

// One chunk after another, a step each.
inline std::vector<float> chunked(Model& model, const Flat& flat, uint32_t size) {
  std::vector<float> logits;
  for (const Chunk& chunk : chunks_of(flat, size)) {
    const auto part = step(model, {&chunk, 1});
    logits.insert(logits.end(), part.begin(), part.end());
  }
  return logits;
}

inline Model make_model(const std::filesystem::path& directory, Isa isa, uint32_t threads, uint32_t slots = 2048,
                        uint32_t max_rows = 2048, WeightFormat weights = WeightFormat::bf16) {
  const npr::model::Checkpoint checkpoint(directory);
  const uint64_t kv_bytes = slots * checkpoint.config().kv_shape().slot_bytes();
  return Model(checkpoint, support::make_test_backend({threads, isa, weights}), kv_bytes, max_rows);
}

}  // namespace test
