// The CUDA backend.
#pragma once
#include <cstdint>
#include <memory>

#include "compute/backend.h"

namespace npr::compute {

struct CudaOptions {
  uint32_t threads = 0;  // of the host, for sampling; 0: one a core
};

// Whether the machine has a GPU that the backend runs on; CUDA_VISIBLE_DEVICES says which ones this process sees.
bool cuda_device_available();

// On the first GPU that the process sees. Throws Error(invalid_request) where there is none.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

}  // namespace npr::compute
