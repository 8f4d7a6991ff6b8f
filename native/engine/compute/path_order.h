// Rows of a batch in an order that puts those with a common prefix side by side, for attention to read it once.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/attention_spans.h"
#include "compute/backend.h"

namespace npr::compute {

// Spans that so many keys reach into.
constexpr uint32_t spans_of(uint32_t visible) { return (visible + span_keys - 1) / span_keys; }

// A row at work: what it sees, and how much of its path it has in common with the member before it.
struct Member {
  uint32_t row;
  uint32_t visible;  // keys
  uint32_t sequence;
  uint32_t shared;  // leading keys that lie in the same slots; all_shared within one sequence
};
constexpr uint32_t all_shared = UINT32_MAX;

// All rows, sequences sorted by their slots: between two rows, the least `shared` is what those two share.
void order_rows(std::span<const Sequence> sequences, std::vector<Member>& out);

// Leading slots that two paths have in common, however they are cut into runs.
uint32_t common_slots(std::span<const Run> a, std::span<const Run> b);

}  // namespace npr::compute
