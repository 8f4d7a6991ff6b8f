// The most memory that this process had resident.
#pragma once
#include <cstdint>

namespace npr::bench {

// Starts counting anew: from here on the peak is at least what is resident now. Where the kernel does not allow that,
// it goes on from the process's begin.
void reset_peak_resident();
// Bytes, mapped files included.
uint64_t peak_resident();

}  // namespace npr::bench
