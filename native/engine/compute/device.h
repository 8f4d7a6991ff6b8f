// Where a model runs.
#pragma once
#include <memory>

#include "compute/backend.h"
#include "compute/cpu/cpu_backend.h"

namespace npr::compute {

enum class Device {
  cpu,
  cuda,
  automatic,  // a GPU where the build and the machine have one that can do what is asked, else the CPU
};

struct DeviceOptions {
  Device device = Device::automatic;
  CpuOptions cpu;  // on a GPU: threads for what stays the host's, and weights as bf16
};

// Throws Error(invalid_request) where the build or the machine lacks what is asked for.
std::unique_ptr<Backend> make_backend(const DeviceOptions& options);

}  // namespace npr::compute
