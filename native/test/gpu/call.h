// What every function of the runtime does: it waits its turn, answers what the device is lost to, and keeps the error.
#pragma once
#include <utility>

#include "gpu/device.h"

namespace npr::gpu {

// Until it is asked for, of the thread.
cudaError_t& last_error();

// Whether this thread records a graph: allocations, and what waits, are none of its work.
bool& capturing();

inline cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error() = status;
  return status;
}

// Calls f(device) alone, and answers its status, or what the device is lost to.
template <class F>
cudaError_t call(F f) {
  Device& device = Device::get();
  const std::lock_guard lock(device.mutex());
  if (device.lost() != cudaSuccess) return result(device.lost());
  const cudaError_t status = f(device);
  return result(device.lost() != cudaSuccess ? device.lost() : status);
}

}  // namespace npr::gpu
