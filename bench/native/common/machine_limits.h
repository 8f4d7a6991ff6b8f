// What this machine can do at most, measured: the limits that the figures of a benchmark stand beside.
#pragma once
#include <cstdint>

namespace npr::bench {

// Bytes a second that `threads` threads read from memory; the best of several passes over 512 MiB.
double read_bandwidth(uint32_t threads);

// Floating-point operations a second of `threads` threads that do nothing but multiply bf16 pairs and add them up in
// fp32 registers; where the machine has no AVX-512 BF16, of fp32 fused multiply-adds. A product and its sum are two.
double bf16_peak(uint32_t threads);

}  // namespace npr::bench
