// Penalties for tokens that a row's history holds.
#pragma once
#include <cstdint>
#include <functional>

#include "sample/logit_row.h"
#include "sample/row.h"

namespace npr::sample {

// Divides positive logits and multiplies negative ones.
inline float repeated(float logit, float penalty) { return logit > 0 ? logit / penalty : logit * penalty; }
// Its derivative.
inline float repeated_slope(float logit, float penalty) { return logit > 0 ? 1 / penalty : penalty; }

// Calls f(turn, token, penalty) where repeated() applies: in turn 0 for each distinct token of prompt and response,
// then in turn 1 for each of the branch's own.
void for_each_repeated(const Row& row, const std::function<void(uint32_t, int32_t, float)>& f);

// Repetition, branch repetition, presence and frequency penalties, in this order.
void penalize(const Row& row, LogitRow& logits);

}  // namespace npr::sample
