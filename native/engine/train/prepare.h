// Groups checked and laid out: what each row of a forward will be.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "branch/layout.h"
#include "branch/lexicon.h"
#include "branch/prompt.h"
#include "model/config.h"
#include "train/group.h"

namespace npr::train {

// Consecutive tokens of a flat sequence that begins with the prompt.
struct Rows {
  std::span<const int32_t> tokens;
  std::vector<int32_t> positions;     // [tokens]
  std::vector<branch::Piece> pieces;  // covering them, in flat indices of the whole sequence
};

struct Prepared {
  const Group* group;
  const Trajectory* trajectory;
  std::shared_ptr<const branch::Prompt> start;  // with a request: where its replay begins
  std::shared_ptr<const Rows> prompt;           // shared by all that read it the same way
  Rows response;

  uint32_t rows() const { return static_cast<uint32_t>(prompt->tokens.size() + response.tokens.size()); }
};

// In order of groups; views of them. Throws Error: invalid_request, with the group's and the trajectory's number, where
// something is wrong with one or it does not follow from its request; context_length where one is longer than the
// model's context.
std::vector<Prepared> prepare(std::span<const Group> groups, const model::Config& config,
                              const branch::Lexicon& lexicon);

}  // namespace npr::train
