// What this machine can do at most, measured: the limits that the figures of a benchmark stand beside.
#pragma once
#include <cstdint>

#include "compute/device.h"

namespace npr::bench {

struct Limits {
  double bytes_per_second;  // of memory: read by a processor, copied by a GPU
  double flops_per_second;  // of bf16 products with fp32 sums
  const char* instruction;  // that did the latter
};

// Of the device that a backend of these options computes on.
Limits measure_limits(const compute::DeviceOptions& options);

// Bytes a second that `threads` threads read from memory; the best of several passes over 512 MiB.
double read_bandwidth(uint32_t threads);

// Floating-point operations a second of `threads` threads that do nothing but multiply bf16 pairs and add them up in
// fp32 registers; where the machine has no AVX-512 BF16, of fp32 fused multiply-adds. A product and its sum are two.
double bf16_peak(uint32_t threads);

}  // namespace npr::bench
