// A backend that is told what its model says, and tells when a step came by.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compute/forwarding_backend.h"

namespace npr::bench {

// Computes what `inner` does, except that `favourite` is the token with by far the largest logit in every row.
// Thread safety: as Backend.
class PromptedBackend : public test::ForwardingBackend {
 public:
  using Clock = std::chrono::steady_clock;

  PromptedBackend(std::unique_ptr<Backend> inner, uint32_t vocab)
      : ForwardingBackend(std::move(inner)), vocab_(vocab) {}

  int32_t favourite = 0;
  // Of the last step: when its batch was handed over, and when parallel() was first entered and last left.
  Clock::time_point begun, sampling, sampled;

  // Its host() is what tells: nobody else may look at the logits.
  compute::Policies* policies() override { return nullptr; }
  void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
             std::span<const Sequence> sequences) override {
    begun = sampling = sampled = Clock::now();
    ForwardingBackend::begin(positions, slots, sequences);
  }
  std::span<const float> host(const float* device, size_t count) override {
    const auto logits = ForwardingBackend::host(device, count);
    // In place: a copy would leave them in one thread's cache while the others fall asleep.
    auto* const values = const_cast<float*>(logits.data());
    prompted_.resize(std::max(prompted_.size(), count / vocab_));
    for (size_t row = 0; row < count / vocab_; ++row) {
      values[row * vocab_ + static_cast<size_t>(prompted_[row])] = 0;
      values[row * vocab_ + static_cast<size_t>(favourite)] = 100;
      prompted_[row] = favourite;
    }
    return logits;
  }
  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override {
    if (sampling == begun) sampling = Clock::now();
    ForwardingBackend::parallel(count, task);
    sampled = Clock::now();
  }

 private:
  uint32_t vocab_;
  std::vector<int32_t> prompted_;  // [rows] the last favourite: who computes nothing does not overwrite it
};

}  // namespace npr::bench
