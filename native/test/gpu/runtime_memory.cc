// Of the CUDA runtime: memory and copies.
#include "gpu/call.h"

using npr::gpu::call;
using npr::gpu::Device;
using npr::gpu::Memory;

namespace {

bool pinned(const void* p) { return Memory::get().find(reinterpret_cast<uint64_t>(p)).host; }
bool on_device(const void* p, size_t bytes) {
  const auto found = Memory::get().find(reinterpret_cast<uint64_t>(p));
  return found.bytes && !found.host && reinterpret_cast<uint64_t>(p) - found.begin + bytes <= found.bytes;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** data, size_t bytes) {
  return call([&](Device&) {
    if (npr::gpu::capturing()) return cudaErrorStreamCaptureUnsupported;
    *data = Memory::get().allocate(bytes, false);
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}
cudaError_t cudaMallocHost(void** data, size_t bytes) {
  return call([&](Device&) {
    if (npr::gpu::capturing()) return cudaErrorStreamCaptureUnsupported;
    *data = Memory::get().allocate(bytes, true);
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}
// Both wait for what may still use it.
cudaError_t cudaFree(void* data) {
  return call([&](Device& device) {
    if (npr::gpu::capturing()) return cudaErrorStreamCaptureUnsupported;
    device.drain_all();
    return !data || Memory::get().free(data) ? cudaSuccess : cudaErrorInvalidValue;
  });
}
cudaError_t cudaFreeHost(void* data) { return cudaFree(data); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = Memory::get().free_bytes();
  *total = Memory::get().total_bytes();
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return call([&](Device& device) {
    if (bytes && !on_device(data, bytes)) return cudaErrorInvalidValue;
    device.add_copy(stream, [=] { std::memset(data, value, bytes); });
    return cudaSuccess;
  });
}
// Memory of the host that is not pinned is copied, or arrives, before the call returns.
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&](Device& device) {
    if (!width || !height) return cudaSuccess;
    const auto span = [&](size_t pitch) { return pitch * (height - 1) + width; };
    const bool reads = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool writes = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    if (kind == cudaMemcpyDefault || to_pitch < width || from_pitch < width) return cudaErrorInvalidValue;
    if ((reads && !on_device(from, span(from_pitch))) || (writes && !on_device(to, span(to_pitch)))) {
      return cudaErrorInvalidValue;
    }
    const auto copy = [=](const uint8_t* source, size_t pitch) {
      for (size_t row = 0; row < height; ++row) {
        std::memcpy(static_cast<uint8_t*>(to) + row * to_pitch, source + row * pitch, width);
      }
    };
    const auto* source = static_cast<const uint8_t*>(from);
    const bool waits = kind != cudaMemcpyDeviceToDevice && !pinned(kind == cudaMemcpyHostToDevice ? from : to);
    if (waits && device.stream(stream).capture) return cudaErrorStreamCaptureUnsupported;
    if (kind == cudaMemcpyHostToDevice && waits) {
      const auto held = std::make_shared<std::vector<uint8_t>>(source, source + span(from_pitch));
      device.add_copy(stream, [=] { copy(held->data(), from_pitch); });
    } else {
      device.add_copy(stream, [=] { copy(source, from_pitch); });
      if (waits) device.drain(device.stream(stream));
    }
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return status == cudaSuccess ? cudaStreamSynchronize(nullptr) : status;
}

}  // extern "C"
