// Launches that may start before what precedes them on the stream has ended. For .cu files.
//
// A kernel launched so must call ptx::wait_for_dependencies() before it touches what an earlier launch writes, writes
// what an earlier one reads, or ends: the launch after it then waits for all before it, too.
#pragma once
#include <cuda_runtime.h>

#include "compute/cuda/cuda_check.h"

namespace npr::compute {

// Without effect before sm_90, and behind a kernel that does not call ptx::launch_dependents().
inline cudaLaunchAttribute overlapping(bool allowed = true) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = allowed;
  return attribute;
}

template <class... Parameters, class... Arguments>
void launch_overlapping(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                        const Arguments&... arguments) {
  cudaLaunchAttribute attribute = overlapping();
  const cudaLaunchConfig_t config{.gridDim = grid,
                                  .blockDim = block,
                                  .dynamicSmemBytes = shared_bytes,
                                  .stream = stream,
                                  .attrs = &attribute,
                                  .numAttrs = 1};
  NPR_CUDA(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

}  // namespace npr::compute
