// What this machine's GPU can do at most, measured, and how much of its memory is in use. Built where CUDA is.
#pragma once
#include <cstdint>

namespace npr::bench {

// Bytes a second, read and written together, that device 0 copies within its memory: the best of several copies of 2
// GB.
double copy_bandwidth();

struct MultiplyPeak {
  double flops_per_second;
  const char* instruction;
};
// Multiplications and additions a second of blocks that do nothing but multiply random bf16 numbers, which are in
// shared memory or registers already, and add the products up in fp32 registers. Random ones, as zeros heat the chip
// less and so run faster than any work does.
MultiplyPeak multiply_peak();

// Bytes of device 0's memory that are taken, by whomever.
uint64_t device_memory_used();

}  // namespace npr::bench
