// Every CUDA call's error as an exception that names the call, the file and the line.
#pragma once
#include <cuda_runtime_api.h>

#include <source_location>

#include "error.h"

namespace npr::compute {

// Throws Error(out_of_memory) where memory is short, Error(unavailable) where the device is lost (nothing computes on
// it any more in this process), Error(internal) otherwise.
void cuda_check(cudaError_t status, const char* call, std::source_location at = std::source_location::current());

}  // namespace npr::compute

#define NPR_CUDA(call) ::npr::compute::cuda_check((call), #call)
// After a kernel launch: what the launch itself was refused for.
#define NPR_LAUNCHED(kernel) ::npr::compute::cuda_check(cudaGetLastError(), #kernel)
