// Of the CUDA runtime: the device, what it can do, and errors.
#include <cuda.h>

#include <cstdio>
#include <string_view>

#include "gpu/call.h"
#include "gpu/tensor_map.h"

using npr::gpu::call;
using npr::gpu::Device;
using npr::gpu::Memory;

namespace npr::gpu {

cudaError_t& last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}

bool& capturing() {
  static thread_local bool now = false;
  return now;
}

}  // namespace npr::gpu

namespace {

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps, CUtensorMapInterleave,
                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  const uint32_t element = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ? 2 : 4;
  if (rank != 2 || swizzle != CU_TENSOR_MAP_SWIZZLE_128B || box[0] * element != 128 || box[1] == 0 || box[1] > 256 ||
      steps[0] != 1 || steps[1] != 1 || reinterpret_cast<uintptr_t>(data) % 16 || strides[0] % 16 || !sizes[0] ||
      !sizes[1]) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const npr::gpu::TensorMap out{npr::gpu::TensorMap::described,
                                reinterpret_cast<uint64_t>(data),
                                sizes[0],
                                sizes[1],
                                strides[0],
                                element,
                                box[0],
                                box[1]};
  *map = {};
  std::memcpy(map, &out, sizeof out);
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = Device::get().capability() ? 1 : 0;
  return npr::gpu::result(*count ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return npr::gpu::result(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  return call([&](Device& device) {
    if (attribute == cudaDevAttrComputeCapabilityMajor) {
      *value = static_cast<int>(device.capability() / 10);
    } else if (attribute == cudaDevAttrComputeCapabilityMinor) {
      *value = static_cast<int>(device.capability() % 10);
    } else if (attribute == cudaDevAttrMultiProcessorCount) {
      *value = static_cast<int>(device.processors());
    } else if (attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin) {
      *value = 227 << 10;
    } else {
      return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int) {
  return call([&](Device& device) {
    *out = {};
    std::snprintf(out->name, sizeof out->name, "software GPU");
    out->totalGlobalMem = Memory::get().total_bytes();
    out->major = static_cast<int>(device.capability() / 10);
    out->minor = static_cast<int>(device.capability() % 10);
    out->multiProcessorCount = static_cast<int>(device.processors());
    out->sharedMemPerBlockOptin = 227 << 10;
    out->sharedMemPerMultiprocessor = 228 << 10;
    out->maxThreadsPerMultiProcessor = 2048;
    out->warpSize = 32;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceSynchronize() {
  return call([](Device& device) {
    if (npr::gpu::capturing()) return cudaErrorStreamCaptureUnsupported;
    device.drain_all();
    return cudaSuccess;
  });
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  const bool known = std::string_view(name) == "cuTensorMapEncodeTiled";
  *function = known ? reinterpret_cast<void*>(&encode_tiled) : nullptr;
  if (found) *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return cudaSuccess;
}

// --- errors ---
cudaError_t cudaGetLastError() { return std::exchange(npr::gpu::last_error(), cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return npr::gpu::last_error(); }
const char* cudaGetErrorName(cudaError_t status) {
  if (status == cudaErrorMemoryAllocation) return "cudaErrorMemoryAllocation";
  if (status == cudaErrorLaunchFailure) return "cudaErrorLaunchFailure";
  return status == cudaSuccess ? "cudaSuccess" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t status) {
  if (status == cudaErrorMemoryAllocation) return "out of memory";
  if (status == cudaErrorLaunchFailure) return "unspecified launch failure";
  if (status == cudaSuccess) return "no error";
  static thread_local char text[32];
  std::snprintf(text, sizeof text, "error %d", static_cast<int>(status));
  return text;
}

}  // extern "C"
