#include "compute/cuda/cuda_check.h"
#include "compute/cuda/low_rank.h"
#include "compute/cuda/row_math.cuh"

namespace npr::compute {
namespace {

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// Eight rows by 256 columns a block, a thread a column of each row: a's numbers are read once for all eight.
constexpr uint32_t add_threads = 256, add_rows = 8;
__global__ void __launch_bounds__(add_threads) add_kernel(LowRank f, float* w) {
  const uint32_t column = blockIdx.y * add_threads + threadIdx.x, first = blockIdx.x * add_rows;
  if (column >= f.columns) return;
  float sums[add_rows] = {};
  for (uint32_t r = 0; r < f.rank; ++r) {
    const float a = f.a[size_t{r} * f.columns + column];
#pragma unroll
    for (uint32_t i = 0; i < add_rows; ++i) {
      if (first + i < f.rows) sums[i] = __fmaf_rn(f.b[size_t{first + i} * f.rank + r], a, sums[i]);
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < add_rows; ++i) {
    if (first + i >= f.rows) return;
    float& to = w[size_t{first + i} * f.columns + column];
    to = __fmaf_rn(f.scale, sums[i], to);
  }
}

// da: 32 columns and 8 ranks a block; of 32 lanes each adds every 32nd row, and the lanes' sums are added in order.
constexpr uint32_t a_columns = 32, a_lanes = 32, a_ranks = 8;
__global__ void __launch_bounds__(a_columns* a_lanes) a_kernel(LowRank f, const float* g, float* da) {
  __shared__ float sums[a_lanes][a_columns];
  const uint32_t column = blockIdx.x * a_columns + threadIdx.x, first = blockIdx.y * a_ranks;
  const uint32_t ranks = min(a_ranks, f.rank - first);
  float sum[a_ranks] = {};
  if (column < f.columns) {
    for (uint32_t row = threadIdx.y; row < f.rows; row += a_lanes) {
      const float x = g[size_t{row} * f.columns + column];
      const float* b = f.b + size_t{row} * f.rank + first;
#pragma unroll
      for (uint32_t r = 0; r < a_ranks; ++r) {
        if (r < ranks) sum[r] = __fmaf_rn(b[r], x, sum[r]);
      }
    }
  }
#pragma unroll
  for (uint32_t r = 0; r < a_ranks; ++r) {
    if (r >= ranks) break;
    sums[threadIdx.y][threadIdx.x] = sum[r];
    __syncthreads();
    if (threadIdx.y == 0 && column < f.columns) {
      float total = 0;
      for (uint32_t lane = 0; lane < a_lanes; ++lane) total += sums[lane][threadIdx.x];
      float& to = da[size_t{first + r} * f.columns + column];
      to = __fmaf_rn(f.scale, total, to);
    }
    __syncthreads();
  }
}

// db: a block a row of g, a warp every eighth rank.
constexpr uint32_t b_threads = 256;
__global__ void __launch_bounds__(b_threads) b_kernel(LowRank f, const float* g, float* db) {
  const float* const row = g + size_t{blockIdx.x} * f.columns;
  for (uint32_t r = threadIdx.x / 32; r < f.rank; r += b_threads / 32) {
    const float* a = f.a + size_t{r} * f.columns;
    float sum = 0;
#pragma unroll 4
    for (uint32_t i = threadIdx.x % 32; i < f.columns; i += 32) sum = __fmaf_rn(row[i], a[i], sum);
    sum = warp_sum(sum);
    float& to = db[size_t{blockIdx.x} * f.rank + r];
    if (threadIdx.x % 32 == 0) to = __fmaf_rn(f.scale, sum, to);
  }
}

}  // namespace

void add_low_rank(cudaStream_t stream, const LowRank& f, float* w) {
  const dim3 grid(divide_up(f.rows, add_rows), divide_up(f.columns, add_threads));
  add_kernel<<<grid, add_threads, 0, stream>>>(f, w);
  NPR_LAUNCHED(add_kernel);
}

void low_rank_gradients(cudaStream_t stream, const LowRank& f, const float* g, float* da, float* db) {
  const dim3 grid(divide_up(f.columns, a_columns), divide_up(f.rank, a_ranks)), threads(a_columns, a_lanes);
  a_kernel<<<grid, threads, 0, stream>>>(f, g, da);
  NPR_LAUNCHED(a_kernel);
  b_kernel<<<f.rows, b_threads, 0, stream>>>(f, g, db);
  NPR_LAUNCHED(b_kernel);
}

}  // namespace npr::compute
