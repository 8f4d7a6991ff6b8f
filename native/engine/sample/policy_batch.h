// Rows whose distributions a backend looks at where their logits lie (compute/policy.h), with the bits of
// distribution.cc.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "compute/policy.h"
#include "sample/row.h"

namespace npr::sample {

// Thread safety: one thread at a time.
class PolicyBatch {
 public:
  void clear();

  // What happens to a row's logits, in turns (compute/policy.h).
  struct Edits {
    std::vector<compute::LogitEdit> list;
    std::array<uint32_t, compute::edit_turns> ends;
  };
  // False: the host has to look at the row. On any thread.
  static bool edits_of(const Row& row, Edits& out);

  // A row of logits at `at`, to draw its token. One that truncates is looked at for its sum alone, and one that a mask
  // restricts for nothing: what may come is listed then.
  void draw(const Row& row, uint32_t at, const Edits& edits);
  // To look at a given token: as one that was drawn with `row`; false, and nothing is added, where the host has to. Or
  // under the softmax of the raw logits.
  bool look(const Row& row, uint32_t at, int32_t token);
  void look_raw(uint32_t at, int32_t token);
  // The rows' logits lie so many rows further on.
  void shift(uint32_t by);

  std::span<const compute::PolicyRow> rows() const { return rows_; }
  std::span<const compute::LogitEdit> edits() const { return edits_; }

 private:
  void add(const Row& row, compute::PolicyRow policy, const Edits& edits);

  std::vector<compute::PolicyRow> rows_;
  std::vector<compute::LogitEdit> edits_;
  Edits looked_;
};

// Whether there is a token to draw.
bool possible(const compute::PolicyValue& value);
// What Distribution::logprob() says of the token, or 0 at temperature 0.
float logprob(const compute::PolicyRow& row, const compute::PolicyValue& value);
// What makes the logits coefficient * d logprob / d logits, as Policy::differentiate() does.
compute::PolicySlope slope(const compute::PolicyRow& row, const compute::PolicyValue& value, float coefficient);
// In nats.
double entropy(const compute::PolicyRow& row, const compute::PolicyValue& value, double distances);

}  // namespace npr::sample
