// In which pieces attention on a GPU takes keys. That is part of what its outputs are: a unit is folded from nothing,
// chunk by chunk, and units are merged in order, whoever computed them.
#pragma once
#include <cstdint>

#include "compute/attention_spans.h"

namespace npr::compute {

// Keys of a unit: few at the beginning of a path, where one row alone should keep many blocks busy, more beyond, where
// partial results would cost more than that gains. Counted along the visible path.
constexpr uint32_t short_unit = 128, long_unit = 512, short_keys = 4096;
static_assert(short_unit % chunk_keys == 0 && long_unit % short_unit == 0 && short_keys % long_unit == 0);

constexpr uint32_t unit_begin(uint32_t unit) {
  constexpr uint32_t many = short_keys / short_unit;
  return unit <= many ? unit * short_unit : short_keys + (unit - many) * long_unit;
}
// Units that lie within so many keys.
constexpr uint32_t whole_units(uint32_t keys) {
  return keys < short_keys ? keys / short_unit : short_keys / short_unit + (keys - short_keys) / long_unit;
}
// Units that so many keys reach into.
constexpr uint32_t units_of(uint32_t keys) {
  const uint32_t whole = whole_units(keys);
  return whole + (unit_begin(whole) < keys);
}

}  // namespace npr::compute
