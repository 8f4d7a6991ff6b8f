#include "compute/cuda/cuda_check.h"
#include "compute/cuda/norm_gradient.cuh"
#include "compute/cuda/row_math.cuh"
#include "compute/cuda/rows_backward.h"

namespace npr::compute::rows {
namespace {

constexpr uint32_t block_threads = 256, warps = block_threads / 32;

uint32_t blocks_for(size_t threads) { return static_cast<uint32_t>((threads + block_threads - 1) / block_threads); }

// A block walks its rows; a thread has the same columns in each, so that it alone adds to their sums in `dw` [n], which
// lies in shared memory. sums: alternating, so that one barrier a row is enough.
template <bool whole>
__global__ void __launch_bounds__(block_threads)
    rms_norm_backward_kernel(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps,
                             float* dx, float* partial) {
  extern __shared__ float4 columns[];
  float* const dw = reinterpret_cast<float*>(columns);
  __shared__ float2 sums[2][warps];
  const uint32_t begin = blockIdx.x * sum_rows, end = min(rows, begin + sum_rows);
  if (partial) {
    for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * block_threads) columns[i / 4] = {0, 0, 0, 0};
  }
  for (uint32_t row = begin; row < end; ++row) {
    const size_t at = size_t{row} * n;
    float squares = 0, products = 0;
    for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * block_threads) {
      const float4 a = load_quad<whole>(g + at, i, n), b = load_quad<whole>(x + at, i, n);
      const float4 w = load_quad<whole>(weight, i, n);
      add_products(a.x, b.x, w.x, squares, products);
      add_products(a.y, b.y, w.y, squares, products);
      add_products(a.z, b.z, w.z, squares, products);
      add_products(a.w, b.w, w.w, squares, products);
    }
    squares = warp_sum(squares);
    products = warp_sum(products);
    float2* const row_sums = sums[row % 2];
    if (threadIdx.x % 32 == 0) row_sums[threadIdx.x / 32] = {squares, products};
    __syncthreads();
    squares = products = 0;
    for (uint32_t warp = 0; warp < warps; ++warp) {
      squares += row_sums[warp].x;
      products += row_sums[warp].y;
    }
    const NormScales scales(squares, products, n, eps);
    for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * block_threads) {
      const float4 a = load_quad<whole>(g + at, i, n), b = load_quad<whole>(x + at, i, n);
      const float4 w = load_quad<whole>(weight, i, n), d = load_quad<whole>(dx + at, i, n);
      const float4 y{d.x + scales.dx(a.x, b.x, w.x), d.y + scales.dx(a.y, b.y, w.y), d.z + scales.dx(a.z, b.z, w.z),
                     d.w + scales.dx(a.w, b.w, w.w)};
      store_quad<whole>(dx + at, i, n, y);
      if (!partial) continue;
      const float4 sum = columns[i / 4];
      columns[i / 4] = {scales.dw(a.x, b.x, sum.x), scales.dw(a.y, b.y, sum.y), scales.dw(a.z, b.z, sum.z),
                        scales.dw(a.w, b.w, sum.w)};
    }
  }
  if (!partial) return;
  float* const out = partial + size_t{blockIdx.x} * n;
  for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * block_threads) {
    for (uint32_t j = i; j < min(n, i + 4); ++j) out[j] = dw[j];
  }
}

// total [n] += the sum of the columns of partial [count, stride]: a thread every 16th row, the threads' sums in order.
constexpr uint32_t sum_columns = 32, sum_lanes = 16;
__global__ void __launch_bounds__(sum_columns* sum_lanes)
    column_sums_kernel(const float* partial, uint32_t count, uint32_t stride, uint32_t n, float* total) {
  __shared__ float sums[sum_lanes][sum_columns];
  const uint32_t column = blockIdx.x * sum_columns + threadIdx.x;
  float sum = 0;
  if (column < n) {
#pragma unroll 8
    for (uint32_t i = threadIdx.y; i < count; i += sum_lanes) sum += partial[size_t{i} * stride + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= n) return;
  for (uint32_t lane = 1; lane < sum_lanes; ++lane) sum += sums[lane][threadIdx.x];
  total[column] += sum;
}

// out = gate t up with t = 1 / (1 + e^-gate): d_up = g gate t, d_gate = g up t (1 + gate (1 - t)).
__device__ void swiglu_gradient(float g, float gate, float up, float& d_gate, float& d_up) {
  const float t = 1.0f / (1.0f + expf(-gate));
  d_up = g * gate * t;
  d_gate = g * up * t * __fmaf_rn(gate, 1.0f - t, 1.0f);
}

// One thread a quad, a line of blocks a row.
template <bool whole>
__global__ void __launch_bounds__(block_threads)
    swiglu_backward_kernel(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) {
  const uint32_t i = 4 * (blockIdx.x * block_threads + threadIdx.x);
  if (i >= n) return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const float* gates = gate_up + row * 2 * n;
    float* out = d_gate_up + row * 2 * n;
    const float4 a = load_quad<whole>(g + row * n, i, n);
    const float4 gate = load_quad<whole>(gates, i, n), up = load_quad<whole>(gates + n, i, n);
    float4 d_gate, d_up;
    swiglu_gradient(a.x, gate.x, up.x, d_gate.x, d_up.x);
    swiglu_gradient(a.y, gate.y, up.y, d_gate.y, d_up.y);
    swiglu_gradient(a.z, gate.z, up.z, d_gate.z, d_up.z);
    swiglu_gradient(a.w, gate.w, up.w, d_gate.w, d_up.w);
    store_quad<whole>(out, i, n, d_gate);
    store_quad<whole>(out + n, i, n, d_up);
  }
}

// One block a group, a thread a column at a time.
__global__ void __launch_bounds__(block_threads)
    scatter_add_kernel(const float* g, Groups groups, uint32_t n, float* dx) {
  const uint32_t begin = groups.first[blockIdx.x], end = groups.first[blockIdx.x + 1];
  float* const to = dx + size_t{groups.target[blockIdx.x]} * n;
  for (uint32_t column = threadIdx.x; column < n; column += block_threads) {
    float sum = to[column];
#pragma unroll 4
    for (uint32_t i = begin; i < end; ++i) sum += g[size_t{groups.order[i]} * n + column];
    to[column] = sum;
  }
}

}  // namespace

void column_sums(cudaStream_t stream, const float* partial, uint32_t count, uint32_t stride, uint32_t n, float* total) {
  const dim3 threads(sum_columns, sum_lanes);
  column_sums_kernel<<<(n + sum_columns - 1) / sum_columns, threads, 0, stream>>>(partial, count, stride, n, total);
  NPR_LAUNCHED(column_sums_kernel);
}

void rms_norm_backward(cudaStream_t stream, const float* g, const float* x, const float* weight, uint32_t rows,
                       uint32_t n, float eps, float* dx, float* dw, float* partial) {
  if (rows == 0) return;
  const auto kernel = n % 4 == 0 ? rms_norm_backward_kernel<true> : rms_norm_backward_kernel<false>;
  const size_t shared = dw ? (n + 3) / 4 * sizeof(float4) : 0;
  if (shared > size_t{40} << 10) {
    NPR_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  }
  const uint32_t blocks = partial_sums(rows);
  kernel<<<blocks, block_threads, shared, stream>>>(g, x, weight, rows, n, eps, dx, dw ? partial : nullptr);
  NPR_LAUNCHED(rms_norm_backward_kernel);
  if (dw) column_sums(stream, partial, blocks, n, n, dw);
}

void swiglu_backward(cudaStream_t stream, const float* g, const float* gate_up, uint32_t rows, uint32_t n,
                     float* d_gate_up) {
  if (rows == 0) return;
  const auto kernel = n % 4 == 0 ? swiglu_backward_kernel<true> : swiglu_backward_kernel<false>;
  const dim3 grid(blocks_for((n + 3) / 4), rows < 65535 ? rows : 65535);
  kernel<<<grid, block_threads, 0, stream>>>(g, gate_up, rows, n, d_gate_up);
  NPR_LAUNCHED(swiglu_backward_kernel);
}

void scatter_add(cudaStream_t stream, const float* g, const Groups& groups, uint32_t n, float* dx) {
  if (groups.count == 0) return;
  scatter_add_kernel<<<groups.count, block_threads, 0, stream>>>(g, groups, n, dx);
  NPR_LAUNCHED(scatter_add_kernel);
}

}  // namespace npr::compute::rows
