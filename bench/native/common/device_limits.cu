#include <cuda_runtime.h>

#include <algorithm>
#include <random>
#include <vector>

#include "common/device_limits.h"
#include "compute/convert.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_memory.h"

namespace npr::bench {
namespace {

constexpr int passes = 8;

// Seconds of the fastest of several passes of what `queue` puts on the default stream.
template <class Queue>
double fastest(const Queue& queue) {
  cudaEvent_t start, end;
  NPR_CUDA(cudaEventCreate(&start));
  NPR_CUDA(cudaEventCreate(&end));
  double best = 1e9;
  for (int pass = 0; pass < passes; ++pass) {
    NPR_CUDA(cudaEventRecord(start));
    queue();
    NPR_CUDA(cudaEventRecord(end));
    NPR_CUDA(cudaEventSynchronize(end));
    float ms = 0;
    NPR_CUDA(cudaEventElapsedTime(&ms, start, end));
    best = std::min(best, ms / 1e3);
  }
  NPR_CUDA(cudaEventDestroy(start));
  NPR_CUDA(cudaEventDestroy(end));
  return best;
}

struct Done {
  double flops;  // of one block
  bool wgmma;
};

// Of shared memory: a [2][64][64], then b [128][64], bf16.
constexpr int operand_numbers = 2 * 64 * 64 + 128 * 64, threads = 256;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// K-major, 128-byte swizzle (mode 1 in bits 62 and 63): 8 rows of 128 bytes are an atom, the next one lies 1,024 bytes
// on (bits 32 to 45, in units of 16 bytes). The leading offset means nothing here.
__device__ uint64_t descriptor(const void* shared) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  return uint64_t{1} << 62 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 16 | (address & 0x3ffff) >> 4;
}

// d [64][128] += a [64][16] . b [128][16]^T, of which a warpgroup's thread holds 64 numbers.
__device__ void multiply(float (&d)[64], uint64_t a, uint64_t b) {
#define NPR_8(i)                                                                                              \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "
      "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, 1, 1, 1, "
      "0, 0;"
      : NPR_8(0), NPR_8(8), NPR_8(16), NPR_8(24), NPR_8(32), NPR_8(40), NPR_8(48), NPR_8(56)
      : "l"(a), "l"(b));
#undef NPR_8
}

// Two warpgroups, each with rows of its own, over the same columns: `rounds` times 64 along k.
__device__ float multiply_all(const uint16_t* operands, int rounds, Done& done) {
  const uint64_t a = descriptor(operands + threadIdx.x / 128 * 64 * 64), b = descriptor(operands + 2 * 64 * 64);
  float d[64] = {};
  for (int round = 0; round < rounds; ++round) {
    asm volatile("wgmma.fence.sync.aligned;");
#pragma unroll
    for (int k = 0; k < 4; ++k) multiply(d, a + k * (32 >> 4), b + k * (32 >> 4));  // 16 numbers are 32 bytes
    asm volatile("wgmma.commit_group.sync.aligned;");
    asm volatile("wgmma.wait_group.sync.aligned 0;");
  }
  done = {2.0 * 2 * 64 * 128 * 64 * rounds, true};
  float sum = 0;
  for (float x : d) sum += x;
  return sum;
}

#else

// Every warp: `rounds` times four tiles of [16][8], 16 along k.
__device__ float multiply_all(const uint16_t* operands, int rounds, Done& done) {
  const auto* const words = reinterpret_cast<const uint32_t*>(operands) + threadIdx.x * 6;
  const uint32_t a0 = words[0], a1 = words[1], a2 = words[2], a3 = words[3], b0 = words[4], b1 = words[5];
  float d[16] = {};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int tile = 0; tile < 16; tile += 4) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(d[tile]), "+f"(d[tile + 1]), "+f"(d[tile + 2]), "+f"(d[tile + 3])
          : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
  }
  done = {2.0 * (threads / 32) * 4 * 16 * 8 * 16 * rounds, false};
  float sum = 0;
  for (float x : d) sum += x;
  return sum;
}

#endif

// numbers: [operand_numbers], sums: [blocks][threads].
__global__ void __launch_bounds__(threads)
    multiply_kernel(const uint16_t* numbers, int rounds, float* sums, Done* done) {
  __shared__ alignas(1024) uint16_t operands[operand_numbers];
  for (int i = threadIdx.x; i < operand_numbers; i += threads) operands[i] = numbers[i];
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // wgmma reads past the caches of ordinary stores
#endif
  __syncthreads();
  Done mine;
  sums[blockIdx.x * threads + threadIdx.x] = multiply_all(operands, rounds, mine);
  if (blockIdx.x == 0 && threadIdx.x == 0) *done = mine;
}

struct Peak {
  double flops_per_second;
  const char* instruction;
};

double copy_bandwidth() {
  constexpr size_t bytes = 2'000'000'000;
  const compute::DeviceArray from(bytes, "the bandwidth measurement"), to(bytes, "the bandwidth measurement");
  const double seconds = fastest(
      [&] { NPR_CUDA(cudaMemcpyAsync(to.as<char>(), from.as<char>(), bytes, cudaMemcpyDeviceToDevice, nullptr)); });
  return 2.0 * bytes / seconds;
}

Peak multiply_peak() {
  int multiprocessors = 0;
  NPR_CUDA(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> host(operand_numbers);
  for (uint16_t& number : host) number = compute::to_bf16(normal(random));
  const compute::DeviceArray numbers(host.size() * 2, "the peak measurement"),
      done(sizeof(Done), "the peak measurement");
  NPR_CUDA(cudaMemcpy(numbers.as<char>(), host.data(), host.size() * 2, cudaMemcpyHostToDevice));
  const int blocks = 2 * multiprocessors;  // two fit one, and hide each other's waits
  const compute::DeviceArray sums(sizeof(float) * blocks * threads, "the peak measurement");
  constexpr int rounds = 20'000;  // some 10 ms
  const double seconds = fastest([&] {
    multiply_kernel<<<blocks, threads>>>(numbers.as<uint16_t>(), rounds, sums.as<float>(), done.as<Done>());
    NPR_LAUNCHED(multiply_kernel);
  });
  Done block;
  NPR_CUDA(cudaMemcpy(&block, done.as<char>(), sizeof block, cudaMemcpyDeviceToHost));
  return {block.flops * blocks / seconds, block.wgmma ? "wgmma m64n128k16" : "mma m16n8k16"};
}

}  // namespace

Limits measure_device() {
  const Peak peak = multiply_peak();
  return {copy_bandwidth(), peak.flops_per_second, peak.instruction};
}

uint64_t device_memory_used() {
  size_t free = 0, total = 0;
  NPR_CUDA(cudaMemGetInfo(&free, &total));
  return total - free;
}

}  // namespace npr::bench
