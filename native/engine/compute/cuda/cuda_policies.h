// Distributions over the vocabulary on the device.
#pragma once
#include <cuda_runtime_api.h>

#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/softmax.h"
#include "compute/cuda/staging.h"
#include "compute/policy.h"

namespace npr::compute {

// Works on its backend's stream. Thread safety: as its backend.
class CudaPolicies : public Policies {
 public:
  explicit CudaPolicies(cudaStream_t stream) : stream_(stream), staging_(stream) {}

  void look(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows, std::span<const LogitEdit> edits,
            std::span<PolicyValue> values) override;
  void group_maxima(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                    std::span<const LogitEdit> edits, std::span<float> maxima) override;
  void collect(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows, std::span<const LogitEdit> edits,
               std::span<const float> thresholds, uint32_t most, std::span<uint32_t> counts,
               std::span<LogitEntry> entries) override;
  void gather(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows, std::span<const LogitEdit> edits,
              std::span<const LogitPick> picks, std::span<float> logits_of) override;
  void differentiate(float* logits, uint32_t vocab, std::span<const PolicyRow> rows, std::span<const LogitEdit> edits,
                     std::span<const PolicyValue> values, std::span<const PolicySlope> slopes, bool replace,
                     std::span<double> distances) override;

 private:
  softmax::Rows send(uint32_t vocab, std::span<const PolicyRow> rows, std::span<const LogitEdit> edits);
  // From the device, once all before it is done; until the next call.
  template <class T>
  std::span<const T> receive(const DeviceArray& from, size_t count);

  cudaStream_t stream_;
  Staging staging_;
  DeviceArray given_;     // what a call was given: rows, edits and what belongs to rows
  DeviceArray sums_;      // [rows, chunks] doubles
  DeviceArray maxima_;    // [rows, chunks] or [rows, groups]
  DeviceArray values_;    // [rows]
  DeviceArray counts_;    // [rows, chunks]
  DeviceArray entries_;   // [rows, most], or the logits that are gathered
  PinnedArray received_;  // results on the host
};

}  // namespace npr::compute
