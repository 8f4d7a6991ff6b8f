// Trajectories side by side in one batch, a prompt once for all behind it.
#pragma once
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "model/model.h"
#include "train/prepare.h"

namespace npr::train {

// Where a trajectory lies in a micro-batch.
struct Placed {
  const Prepared* prepared;
  uint32_t prompt_row, response_row;  // the first of each

  // The row whose logits predict the response's token `index`.
  uint32_t predicts(uint32_t index) const {
    return index ? response_row + index - 1 : prompt_row + static_cast<uint32_t>(prepared->prompt->tokens.size()) - 1;
  }
};

// Row i is kept in slot i.
struct MicroBatch {
  model::Batch batch;                // its sequences refer to `paths`
  std::deque<compute::Path> paths;   // one a sequence
  std::vector<Placed> trajectories;  // in order
};

// Splits them, in order, into consecutive parts of at most `most_rows` rows each, or of one trajectory where that is
// longer. Throws Error(invalid_request) where one needs more than `slots`.
std::vector<std::span<const Prepared>> split(std::span<const Prepared> trajectories, uint32_t most_rows,
                                             uint32_t slots);

MicroBatch pack(std::span<const Prepared> trajectories);

}  // namespace npr::train
