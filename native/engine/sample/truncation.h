// top_k, top_p and min_p, in this order.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "sample/candidates.h"
#include "sample/params.h"

namespace npr::sample {

// A finite value that the k largest finite entries reach, and few others: the k-th largest maximum of groups of
// entries. `maxima`, -infinity for a group without any, are left in another order.
float least_of_top_k(uint32_t k, std::span<float> maxima);
// A logit below which top_p and min_p keep nothing, without top_k. `total`: of the weights exp((logit - max) * scale)
// of all entries; of no account where top_p is 1.
float least_of_top_p(const Params& params, float max, double total, uint32_t vocab);

// Leaves and weighs those that may come, of candidates among which they are. `total` as above where top_p is a share of
// all entries; without it, and behind top_k, it is one of the candidates.
void truncate(const Params& params, float max, std::optional<double> total, Candidates& candidates);

}  // namespace npr::sample
