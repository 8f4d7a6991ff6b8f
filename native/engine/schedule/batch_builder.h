// Turns what is pending into one ragged batch of appends.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "kv/radix_tree.h"
#include "kv/slot_pool.h"
#include "model/model.h"
#include "schedule/active.h"

namespace npr::schedule {

// A row whose logits choose the next token of `branch`.
struct SampleRow {
  Active* active;
  branch::Choice* choice;
  branch::Branch* branch;
  uint32_t logits;  // index into Batch::logit_rows
};

// A row whose logits score the prompt token after it.
struct ScoreRow {
  Active* active;
  uint32_t token;   // index of the scored prompt token
  uint32_t logits;  // index into Batch::logit_rows
};

// Thread safety: the scheduler's thread owns it.
class BatchBuilder {
 public:
  BatchBuilder(kv::SlotPool& pool, kv::RadixTree& tree) : pool_(pool), tree_(tree) {}

  void clear();
  // Appends `rows` pending tokens of the request, in flat order, each to its branch; takes as many slots from the pool.
  // Precondition: rows <= active.pending(), rows <= free slots.
  void add(Active& active, uint32_t rows);
  // The batch, complete after the last add(); valid until clear() or until a branch grows.
  const model::Batch& finish();

  const std::vector<SampleRow>& samples() const { return samples_; }
  const std::vector<ScoreRow>& scores() const { return scores_; }
  uint32_t logit_rows() const { return static_cast<uint32_t>(batch_.logit_rows.size()); }

 private:
  void add_prompt(Active& active, uint32_t rows);
  bool grow(Active& active, branch::Choice& choice, branch::Branch& branch);
  bool append(branch::Branch& branch, uint32_t end);
  void merge(branch::Branch& branch, const branch::Block& block);
  // Takes slots, once the prefix cache has given up whole tiles for them, if it has any to give.
  void take(uint32_t rows, std::optional<compute::Slot> after, std::vector<compute::Slot>& slots);
  compute::Path copy(const compute::Path& path);
  void drop(compute::Path& path);
  uint32_t want_logits(uint32_t row);

  kv::SlotPool& pool_;
  kv::RadixTree& tree_;
  model::Batch batch_;
  std::vector<std::pair<uint32_t, const branch::Branch*>> growing_;  // sequences whose path is their branch's
  std::deque<compute::Path> paths_;                                  // of the others; stable in memory
  std::vector<compute::Path> spare_;  // memory of paths no longer used: fresh pages cost more than copying a path
  std::vector<SampleRow> samples_;
  std::vector<ScoreRow> scores_;
  uint32_t rows_left_ = 0;
};

}  // namespace npr::schedule
