// In which pieces attention takes keys; a GPU's partial results are of its own pieces (cuda/attention_units.h). Plain
// data only: see cpu/kernels.h.
#pragma once
#include <cstdint>

namespace npr::compute {

// Keys of an attention chunk: a chunk is what one softmax update takes, a span what one partial result covers.
// Both are counted along the visible path.
constexpr uint32_t chunk_keys = 64;
constexpr uint32_t span_keys = 512;

}  // namespace npr::compute
