// Softmax over the vocabulary on the device, with the bits of sample/ (compute/policy.h).
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "compute/policy.h"

namespace npr::compute::softmax {

// Entries that are summed by themselves.
constexpr uint32_t chunk_entries = 4096;
inline uint32_t chunks_of(uint32_t vocab) { return (vocab + chunk_entries - 1) / chunk_entries; }

// Rows of logits [.., vocab] under their policies; device arrays.
struct Rows {
  uint32_t vocab, count;
  const PolicyRow* rows;  // [count]
  const LogitEdit* edits;
};

// maxima, sums [count, chunks]: of each chunk the largest finite logit, and the sum of exp((logit - that) * scale).
// 4 vocab bytes a row.
void chunk_sums(cudaStream_t stream, const float* logits, const Rows& at, float* maxima, double* sums);
// values [count], from the former. Reads a chunk of each row at the most.
void values(cudaStream_t stream, const float* logits, const Rows& at, const float* maxima, const double* sums,
            PolicyValue* out);
// maxima [count, groups]: of each group the largest finite logit. 4 vocab bytes a row.
void group_maxima(cudaStream_t stream, const float* logits, const Rows& at, float* maxima);
// counts [count, chunks]: each chunk's finite entries that are at least their row's threshold; entries [count, most]:
// the first of them, in order of ids. 8 vocab bytes a row.
void collect(cudaStream_t stream, const float* logits, const Rows& at, const float* thresholds, uint32_t most,
             uint32_t* counts, LogitEntry* entries);
// out [count]: the picked entries.
void gather(cudaStream_t stream, const float* logits, const Rows& at, const LogitPick* picks, uint32_t count,
            float* out);
// Policies::differentiate(), with distances [count, chunks] of each chunk. 4 vocab bytes a row, or 8 where gradients
// are written.
void gradients(cudaStream_t stream, float* logits, const Rows& at, const PolicyValue* values, const PolicySlope* slopes,
               bool replace, double* distances);

}  // namespace npr::compute::softmax
