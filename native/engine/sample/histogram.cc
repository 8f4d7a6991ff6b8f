#include "sample/histogram.h"

namespace npr::sample {

uint32_t Histogram::find(int32_t token) const {
  const uint32_t mask = static_cast<uint32_t>(slots_.size()) - 1;
  uint32_t at = ((static_cast<uint32_t>(token) * 0x9e3779b1u) >> 7) & mask;
  while (slots_[at] && entries_[slots_[at] - 1].token != token) at = (at + 1) & mask;
  return at;
}

void Histogram::grow() {
  slots_.assign(slots_.empty() ? 16 : 2 * slots_.size(), 0);
  for (uint32_t i = 0; i < entries_.size(); ++i) slots_[find(entries_[i].token)] = i + 1;
}

void Histogram::add(int32_t token, uint32_t count) {
  if (2 * (entries_.size() + 1) > slots_.size()) grow();
  uint32_t& slot = slots_[find(token)];
  if (slot) {
    entries_[slot - 1].count += count;
  } else {
    entries_.push_back({token, count});
    slot = static_cast<uint32_t>(entries_.size());
  }
}

void Histogram::merge(const Histogram& other) {
  for (const Entry& entry : other.entries_) add(entry.token, entry.count);
}

uint32_t Histogram::count(int32_t token) const {
  if (slots_.empty()) return 0;
  const uint32_t slot = slots_[find(token)];
  return slot ? entries_[slot - 1].count : 0;
}

}  // namespace npr::sample
