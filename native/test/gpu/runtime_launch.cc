// Of the CUDA runtime: kernels, as nvcc makes them known and launches them.
#include <cstdio>

#include "gpu/call.h"

using npr::gpu::call;
using npr::gpu::Device;
using npr::gpu::Function;

namespace {

constexpr size_t most_shared = 227 << 10;  // of a block
constexpr uint32_t most_blocks = 1 << 24;  // of this device, along x

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

cudaError_t launch(const void* function, dim3 grid, dim3 block, dim3 cluster, size_t shared, cudaStream_t stream,
                   void** arguments, bool overlaps = false) {
  return call([&](Device& device) {
    Function* f = device.function(function);
    if (!f) return cudaErrorInvalidDeviceFunction;
    try {
      const npr::gpu::Kernel& kernel = device.kernel(*f);
      const uint64_t threads = uint64_t{block.x} * block.y * block.z;
      if (!cluster.x || !cluster.y || !cluster.z || !grid.x || !grid.y || !grid.z || grid.x > most_blocks ||
          grid.y > 65535 || grid.z > 65535 || !threads || threads > 1024 || grid.x % cluster.x || grid.y % cluster.y ||
          grid.z % cluster.z) {
        return cudaErrorInvalidConfiguration;
      }
      if (shared > f->most_dynamic_shared || kernel.static_shared + shared > most_shared) return cudaErrorInvalidValue;
      auto out = std::make_shared<npr::gpu::Launch>();
      *out = {&kernel,
              {grid.x, grid.y, grid.z},
              {block.x, block.y, block.z},
              {cluster.x, cluster.y, cluster.z},
              static_cast<uint32_t>(shared),
              std::vector<uint8_t>(kernel.parameter_bytes)};
      for (size_t i = 0; i < kernel.parameters.size(); ++i) {
        std::memcpy(out->parameters.data() + kernel.parameters[i].offset, arguments[i], kernel.parameters[i].bytes);
      }
      out->overlaps = overlaps;
      device.add(stream, [&device, out](CUstream_st& s) { device.launch(*out, s); });
    } catch (const std::runtime_error& error) {
      std::fprintf(stderr, "software GPU: %s: %s\n", f->name.c_str(), error.what());
      return cudaErrorInvalidKernelImage;
    }
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

// --- what nvcc calls ---
void** __cudaRegisterFatBinary(void* binary) { return Device::get().add_binary(binary); }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void** binary, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  Device::get().add_function(host, binary, name);
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid, *block = c.block, *shared = c.shared, *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = reinterpret_cast<cudaKernel_t>(Device::get().function(host));
  return *kernel ? cudaSuccess : cudaErrorInvalidDeviceFunction;
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                             cudaStream_t stream) {
  return launch(function, grid, block, {1, 1, 1}, shared, stream, arguments);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                               cudaStream_t stream) {
  return launch(kernel, grid, block, {1, 1, 1}, shared, stream, arguments);
}

// --- launches ---
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  dim3 cluster(1, 1, 1);
  bool overlaps = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const auto& [id, value] = std::pair(config->attrs[i].id, config->attrs[i].val);
    if (id == cudaLaunchAttributeClusterDimension) {
      cluster = dim3(value.clusterDim.x, value.clusterDim.y, value.clusterDim.z);
    }
    if (id == cudaLaunchAttributeProgrammaticStreamSerialization) {
      overlaps = value.programmaticStreamSerializationAllowed;
    }
  }
  if (Device::get().capability() < 90) overlaps = false;
  return launch(function, config->gridDim, config->blockDim, cluster, config->dynamicSmemBytes, config->stream,
                arguments, overlaps);
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return call([&](Device& device) {
    Function* f = device.function(function);
    if (!f) return cudaErrorInvalidDeviceFunction;
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
      if (value < 0 || value > static_cast<int>(most_shared)) return cudaErrorInvalidValue;
      f->most_dynamic_shared = static_cast<uint32_t>(value);
    }
    return cudaSuccess;
  });
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* function) {
  return call([&](Device& device) {
    const Function* f = device.function(function);
    if (!f) return cudaErrorInvalidDeviceFunction;
    *out = {};
    try {
      const npr::gpu::Kernel& kernel = device.kernel(*f);
      out->sharedSizeBytes = kernel.static_shared;
      out->localSizeBytes = kernel.local_bytes;
    } catch (const std::runtime_error&) {
      return cudaErrorNoKernelImageForDevice;
    }
    out->maxThreadsPerBlock = 1024;
    out->maxDynamicSharedSizeBytes = static_cast<int>(f->most_dynamic_shared);
    out->ptxVersion = out->binaryVersion = static_cast<int>(device.capability());
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int threads, size_t shared,
                                                                   unsigned) {
  *blocks = static_cast<int>(std::min<size_t>(2048 / threads, (228 << 10) / (shared + 1024)));
  return cudaSuccess;
}

}  // extern "C"
