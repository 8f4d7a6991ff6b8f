// What this machine can do at most, measured: the limits that the figures of a benchmark stand beside.
#pragma once
#include "compute/device.h"

namespace npr::bench {

struct Limits {
  double bytes_per_second;  // of memory: read by a processor, copied by a GPU
  double flops_per_second;  // of bf16 products with fp32 sums; a product and its sum are two
  const char* instruction;  // that did the latter
};

// Of the device that a backend of these options computes on.
Limits measure_limits(const compute::DeviceOptions& options);

}  // namespace npr::bench
