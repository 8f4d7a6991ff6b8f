#include "compute/cuda/cuda_check.h"
#include "compute/cuda/optimizer_step.h"

namespace npr::compute {
namespace {

constexpr uint32_t block_threads = 256;
constexpr uint32_t held = 4;  // numbers of a thread, a block's width apart

__global__ void __launch_bounds__(block_threads)
    adamw_kernel(AdamWStep s, size_t count, float* masters, float* gradients, float* first_moments,
                 float* second_moments) {
  const size_t begin = size_t{blockIdx.x} * (held * block_threads) + threadIdx.x;
#pragma unroll
  for (uint32_t j = 0; j < held; ++j) {
    const size_t i = begin + j * block_threads;
    if (i >= count) return;
    const float g = gradients[i] * s.gradient_scale;
    const float first = first_moments[i];
    const float m = first + s.weight1 * (g - first);
    const float v = s.beta2 * second_moments[i] + s.weight2 * g * g;
    const float denominator = sqrtf(v) / s.root_of_correction2 + s.epsilon;
    masters[i] = masters[i] * s.keep - s.step_size * m / denominator;
    first_moments[i] = m;
    second_moments[i] = v;
    gradients[i] = 0;
  }
}

// A thread adds every 256th number of its block's chunk, then halves of the block are added up.
__global__ void __launch_bounds__(block_threads) squares_kernel(const float* x, size_t count, double* out) {
  __shared__ double sums[block_threads];
  const size_t begin = blockIdx.x * squares_chunk, end = min(count, begin + squares_chunk);
  double sum = 0;
#pragma unroll 8
  for (size_t i = begin + threadIdx.x; i < end; i += block_threads) sum = fma(double{x[i]}, double{x[i]}, sum);
  sums[threadIdx.x] = sum;
  for (uint32_t width = block_threads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) sums[threadIdx.x] += sums[threadIdx.x + width];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

uint32_t divide_up(size_t a, size_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

}  // namespace

void adamw(cudaStream_t stream, const AdamWStep& step, size_t count, float* masters, float* gradients,
           float* first_moments, float* second_moments) {
  if (count == 0) return;
  adamw_kernel<<<divide_up(count, held * block_threads), block_threads, 0, stream>>>(step, count, masters, gradients,
                                                                                     first_moments, second_moments);
  NPR_LAUNCHED(adamw_kernel);
}

void sums_of_squares(cudaStream_t stream, const float* x, size_t count, double* sums) {
  if (count == 0) return;
  squares_kernel<<<divide_up(count, squares_chunk), block_threads, 0, stream>>>(x, count, sums);
  NPR_LAUNCHED(squares_kernel);
}

}  // namespace npr::compute
