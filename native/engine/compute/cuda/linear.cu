#include <algorithm>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/gemm_mma.cuh"
#include "compute/cuda/linear.h"

namespace npr::compute {

namespace {

// to [rows, stride] = from [rows, n] rounded to nearest even; what lies beyond n is zero. A thread takes 8 elements.
__global__ void round_rows(const float* from, uint32_t rows, uint32_t n, uint32_t stride, uint16_t* to) {
  const size_t eights = size_t{rows} * (stride / 8), step = size_t{gridDim.x} * blockDim.x;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < eights; i += step) {
    const size_t row = i / (stride / 8);
    const uint32_t column = static_cast<uint32_t>(i % (stride / 8)) * 8;
    const float* at = from + row * n + column;
    float v[8];
    if (n % 8 == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
      const float4 low = reinterpret_cast<const float4*>(at)[0], high = reinterpret_cast<const float4*>(at)[1];
      v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
      v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
    } else {
#pragma unroll
      for (uint32_t e = 0; e < 8; ++e) v[e] = column + e < n ? at[e] : 0.0f;
    }
    uint32_t words[4];
#pragma unroll
    for (uint32_t e = 0; e < 4; ++e) {
      words[e] = uint32_t{__bfloat16_as_ushort(__float2bfloat16_rn(v[2 * e]))} |
                 uint32_t{__bfloat16_as_ushort(__float2bfloat16_rn(v[2 * e + 1]))} << 16;
    }
    *reinterpret_cast<uint4*>(to + i * 8) = {words[0], words[1], words[2], words[3]};
  }
}

// `transposed`: the view's rows are the reduction.
MmaOperand operand(const Bf16View& m, bool transposed) {
  return {m.data, transposed ? m.columns : m.rows, transposed ? m.rows : m.columns, m.stride,
          GemmSm90::readable(m.data, m.stride)};
}

template <bool MnA, bool MnB>
void launch_mma(const Bf16View& a, const Bf16View& b, float* out, bool add, cudaStream_t stream) {
  const MmaOperand left = operand(a, MnA), right = operand(b, MnB);
  const RowMajorOut to{out, right.extent, left.extent, add, false};
  const dim3 grid((left.extent + mma_tile - 1) / mma_tile, std::min((right.extent + mma_tile - 1) / mma_tile, 65535u));
  gemm_mma<MnA, MnB, RowMajorOut><<<grid, mma_threads, 0, stream>>>(left, right, to);
  NPR_LAUNCHED(gemm_mma);
}

Bf16View view(const CudaMatrix& w) { return {w.data(), w.n(), w.k(), w.stride()}; }

}  // namespace

CudaLinear::CudaLinear(cudaStream_t stream, Instruction instruction) : stream_(stream) {
  if (instruction == Instruction::best && GemmSm90::available()) sm90_.emplace(stream);
}

void CudaLinear::run(const bf16* x, uint32_t rows, const CudaMatrix& w, float* out, bool add) {
  if (rows == 0) return;
  const Bf16View tokens{x, rows, w.k(), w.k()};
  // By the matrix alone: arrays are aligned, and so are their rows where k is a multiple of 8.
  if (sm90_ && w.k() % 8 == 0) {
    sm90_->product(sm90_->choose(rows, w.n(), w.k()), tokens, view(w), out, add);
  } else {
    launch_mma<false, false>(view(w), tokens, out, add, stream_);
  }
}

void CudaLinear::input(const float* g, uint32_t rows, const CudaMatrix& w, float* dx) {
  if (rows == 0) return;
  const Bf16View gradient = rounded(g, rows, w.n());
  if (sm90_) {
    sm90_->input(gradient, view(w), dx);
  } else {
    launch_mma<true, false>(view(w), gradient, dx, false, stream_);
  }
}

void CudaLinear::weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw) {
  if (rows == 0) return;
  const Bf16View gradient = rounded(g, rows, n), tokens{x, rows, k, k};
  if (sm90_ && k % 8 == 0) {
    sm90_->weight(gradient, tokens, dw);
  } else {
    launch_mma<true, true>(tokens, gradient, dw, true, stream_);
  }
}

Bf16View CudaLinear::rounded(const float* g, uint32_t rows, uint32_t n) {
  const uint32_t stride = (n + 7) / 8 * 8;
  const size_t bytes = size_t{rows} * stride * sizeof(bf16);
  rounded_.reserve(bytes, "the rounded gradients of a layer");
  constexpr uint32_t threads = 256, most = 132 * 16;
  const size_t blocks = (bytes / 16 + threads - 1) / threads;
  round_rows<<<static_cast<uint32_t>(std::min<size_t>(blocks, most)), threads, 0, stream_>>>(g, rows, n, stride,
                                                                                             rounded_.as<uint16_t>());
  NPR_LAUNCHED(round_rows);
  return {rounded_.as<bf16>(), rows, n, stride};
}

}  // namespace npr::compute
