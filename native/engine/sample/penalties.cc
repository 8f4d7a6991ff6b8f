#include "sample/penalties.h"

#include <vector>

namespace npr::sample {

void for_each_repeated(const Row& row, const std::function<void(uint32_t, int32_t, float)>& f) {
  const Params& p = *row.params;
  if (p.repetition_penalty != 1.0f) {
    std::vector<const Histogram*> visible(row.response.begin(), row.response.end());
    if (row.prompt) visible.push_back(row.prompt);
    for_each_distinct(visible, [&](int32_t token, uint32_t) { f(0, token, p.repetition_penalty); });
  }
  if (p.branch_repetition_penalty != 1.0f && row.branch_sampled) {
    for (const Histogram::Entry& entry : row.branch_sampled->entries()) f(1, entry.token, p.branch_repetition_penalty);
  }
}

void penalize(const Row& row, LogitRow& logits) {
  const Params& p = *row.params;
  for_each_repeated(
      row, [&](uint32_t, int32_t token, float penalty) { logits.set(token, repeated(logits[token], penalty)); });
  if (p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f) {
    for_each_distinct(row.response, [&](int32_t token, uint32_t count) {
      logits.set(token, logits[token] - p.frequency_penalty * static_cast<float>(count) - p.presence_penalty);
    });
  }
}

}  // namespace npr::sample
