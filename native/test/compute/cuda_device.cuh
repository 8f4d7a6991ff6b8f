// What tests of products on the device share: random arrays with NaN behind them, and comparisons there.
#pragma once
#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>

#include "check.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_matrix.h"
#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/cuda_stream.h"

namespace support {

using npr::compute::bf16;
using npr::compute::CudaMatrix;
using npr::compute::CudaStream;
using npr::compute::DeviceArray;

__device__ inline float uniform(uint64_t seed, uint64_t i) {  // [-1, 1)
  uint64_t z = (seed << 40) + i * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-23f - 1.0f;
}
__device__ inline float value(float x) { return __bfloat162float(__float2bfloat16_rn(x)); }  // as the products take it
__device__ inline float value(bf16 x) { return __bfloat162float(__ushort_as_bfloat16(x)); }
__device__ inline void set(float& to, float x) { to = x; }
__device__ inline void set(bf16& to, float x) { to = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }

// a [rows, stride]: random numbers in the first `columns` of each row, NaN after them and in `behind` more elements.
template <class T>
__global__ void fill(T* a, uint64_t rows, uint64_t columns, uint64_t stride, uint64_t behind, uint64_t seed) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < rows * stride + behind;
       i += uint64_t{gridDim.x} * blockDim.x) {
    set(a[i], i / stride < rows && i % stride < columns ? uniform(seed, i) : NAN);
  }
}

// An operand: row i, reduction element r at data[i * row + r * step].
template <class T>
struct View {
  const T* data;
  uint64_t row, step;
  __device__ inline float at(uint64_t i, uint64_t r) const { return value(data[i * row + r * step]); }
};

// faults[0] counts outputs [tokens, n] that are not times * (b . a^T) + old.
template <class A, class B>
__global__ void compare_sums(const float* out, View<A> a, View<B> b, uint32_t tokens, uint32_t n, uint32_t depth,
                             int times, const float* old, uint32_t* faults) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < uint64_t{tokens} * n;
       i += uint64_t{gridDim.x} * blockDim.x) {
    double sum = 0, size = 0;
    for (uint32_t r = 0; r < depth; ++r) {
      const double term = double{a.at(i % n, r)} * b.at(i / n, r);
      sum += term;
      size += fabs(term);
    }
    const double expected = times * sum + (old ? old[i] : 0.0f);
    // A term left out is 0.25 on average; fp32 sums are off by far less than a millionth of their terms each.
    if (!(fabs(out[i] - expected) <= 4e-6 * (size + 1))) atomicAdd(faults, 1u);
  }
}
static __global__ void compare_bits(const float* a, const float* b, uint64_t count, uint32_t* faults) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < count; i += uint64_t{gridDim.x} * blockDim.x) {
    if (__float_as_uint(a[i]) != __float_as_uint(b[i])) atomicAdd(faults, 1u);
  }
}

// The device, a stream, and arrays of random numbers with NaN behind them. Thread safety: one thread.
class Device {
 public:
  static void skip_if_absent() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) throw check::Skipped("no CUDA device");
  }
  cudaStream_t stream() const { return stream_; }

  template <class T>
  DeviceArray random(uint64_t rows, uint64_t columns, uint64_t seed) {
    DeviceArray array((rows * columns + behind) * sizeof(T), "a test");
    fill<<<512, 256, 0, stream_>>>(array.as<T>(), rows, columns, columns, behind, seed);
    NPR_LAUNCHED(fill);
    return array;
  }
  void randomize(const CudaMatrix& w, uint64_t seed) {
    fill<<<512, 256, 0, stream_>>>(w.data(), w.n(), w.k(), w.stride(), uint64_t{w.padded_n() - w.n()} * w.stride(),
                                   seed);
    NPR_LAUNCHED(fill);
    NPR_CUDA(cudaStreamSynchronize(stream_));  // products read weights before what was queued has ended
  }
  template <class A, class B>
  uint32_t wrong_sums(const float* out, View<A> a, View<B> b, uint32_t tokens, uint32_t n, uint32_t depth,
                      int times = 1, const float* old = nullptr) {
    return count([&](uint32_t* faults) {
      compare_sums<<<1024, 128, 0, stream_>>>(out, a, b, tokens, n, depth, times, old, faults);
    });
  }
  uint32_t different_bits(const float* a, const float* b, uint64_t count_of) {
    return count([&](uint32_t* faults) { compare_bits<<<512, 256, 0, stream_>>>(a, b, count_of, faults); });
  }

 private:
  static constexpr uint64_t behind = 4096;

  template <class F>
  uint32_t count(const F& launch) {
    NPR_CUDA(cudaMemsetAsync(faults_.as<uint32_t>(), 0, 4, stream_));
    launch(faults_.as<uint32_t>());
    NPR_LAUNCHED(compare);
    uint32_t found;
    NPR_CUDA(cudaMemcpyAsync(&found, faults_.as<uint32_t>(), 4, cudaMemcpyDeviceToHost, stream_));
    NPR_CUDA(cudaStreamSynchronize(stream_));
    return found;
  }

  CudaStream stream_;
  DeviceArray faults_{4, "a count"};
};

}  // namespace support
