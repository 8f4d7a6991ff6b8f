// How many tokens of one step each request gets.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace npr::schedule {

struct Want {
  uint32_t pending;  // tokens that the request could use
  bool bulk;         // prefill, or recomputation after a preemption: it may take whatever is left
};

// Deals `rows` out: first to requests that decode, evenly, so that one with many branches does not starve the others;
// what they leave, and at least an eighth of all over eight turns, goes to bulk work in the given order (oldest first).
// `turn` counts steps; it moves the odd rows from request to request.
std::vector<uint32_t> deal(std::span<const Want> wants, uint32_t rows, uint64_t turn);

}  // namespace npr::schedule
