#include "compute/device.h"

#include "error.h"
#ifdef NPR_WITH_CUDA
#include "compute/cuda/cuda_backend.h"
#endif

namespace npr::compute {
namespace {

#ifdef NPR_WITH_CUDA
bool has_gpu() { return cuda_device_available(); }
std::unique_ptr<Backend> on_gpu(const CpuOptions& options) { return make_cuda_backend({.threads = options.threads}); }
#else
bool has_gpu() { return false; }
std::unique_ptr<Backend> on_gpu(const CpuOptions&) {
  throw Error(ErrorCode::invalid_request, "the device cuda was asked for, but this build has no CUDA backend");
}
#endif

}  // namespace

std::unique_ptr<Backend> make_backend(const DeviceOptions& options) {
  const bool bf16_weights = options.cpu.weights == WeightFormat::bf16;
  switch (options.device) {
    case Device::cpu:
      break;
    case Device::cuda:
      if (!bf16_weights)
        throw Error(ErrorCode::invalid_request, "weights of int8 are for the device cpu; on cuda they are bf16");
      return on_gpu(options.cpu);
    case Device::automatic:
      if (bf16_weights && has_gpu()) return on_gpu(options.cpu);
  }
  return make_cpu_backend(options.cpu);
}

}  // namespace npr::compute
