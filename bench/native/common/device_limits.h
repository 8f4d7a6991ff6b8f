// What this machine's GPU can do at most, measured, and how much of its memory is in use. Built where CUDA is.
#pragma once
#include <cstdint>

#include "common/machine_limits.h"

namespace npr::bench {

// Of device 0. The bandwidth is that of a copy of 2 GB within its memory, bytes read and written; the peak that of
// blocks that do nothing but multiply random bf16 numbers, which lie in shared memory or registers already, and add the
// products up in fp32 registers. Random ones, as zeros heat the chip less and so run faster than any work does.
Limits measure_device();

// Bytes of device 0's memory that are taken, by whomever.
uint64_t device_memory_used();

}  // namespace npr::bench
