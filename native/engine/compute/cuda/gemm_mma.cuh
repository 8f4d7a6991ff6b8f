// Products with mma.sync, for every architecture since sm_80 and for matrices that tensor copies can't read.
//
// One tile, one accumulator an output, k in order: the bits of an output depend on its operands' rows alone. They are
// not those of gemm_sm90.h. Chosen by device and matrix, never by the number of rows.
#pragma once
#include <cuda_bf16.h>

#include <cstdint>

#include "compute/cuda/gemm_output.cuh"

namespace npr::compute {

// `extent` rows by `depth` reduction elements of bf16; K-major: [extent][stride], MN-major: [depth][stride].
struct MmaOperand {
  const uint16_t* data;
  uint32_t extent, depth;
  uint64_t stride;
  bool in_eights;  // data is aligned to 16 bytes and the stride a multiple of 8
};

constexpr uint32_t mma_tile = 64, mma_depth = 32, mma_threads = 128;

// A tile [64 rows, 32 k] of an operand on its way to shared memory. Lines are contiguous elements, padded so that the
// eight lines of an 8 x 8 matrix lie in different banks.
template <bool MnMajor>
struct MmaTile {
  static constexpr uint32_t lines = MnMajor ? mma_depth : mma_tile, width = MnMajor ? mma_tile : mma_depth;
  static constexpr uint32_t pitch = width + 8, elements = lines * pitch;
  static constexpr uint32_t chunks = lines * width / 8 / mma_threads;  // of 8 elements, a thread
  uint4 chunk[chunks];

  __device__ static uint2 place(uint32_t i) {  // line, first element
    const uint32_t at = threadIdx.x + i * mma_threads;
    return {at / (width / 8), at % (width / 8) * 8};
  }
  // Zero where the operand ends.
  __device__ void load(const MmaOperand& m, uint32_t row0, uint32_t k0) {
    const uint32_t line_end = MnMajor ? m.depth : m.extent, end = MnMajor ? m.extent : m.depth;
    const uint32_t line0 = MnMajor ? k0 : row0, first = MnMajor ? row0 : k0;
#pragma unroll
    for (uint32_t i = 0; i < chunks; ++i) {
      const uint2 p = place(i);
      const uint32_t line = line0 + p.x, begin = first + p.y;
      chunk[i] = {0, 0, 0, 0};
      if (line >= line_end || begin >= end) continue;
      const uint16_t* from = m.data + line * m.stride + begin;
      if (m.in_eights && begin + 8 <= end) {
        chunk[i] = *reinterpret_cast<const uint4*>(from);
      } else {
        uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
        for (uint32_t e = 0; e < 8; ++e) {
          if (begin + e < end) words[e / 2] |= uint32_t{from[e]} << (e % 2 * 16);
        }
        chunk[i] = {words[0], words[1], words[2], words[3]};
      }
    }
  }
  __device__ void store(uint16_t* shared) const {
#pragma unroll
    for (uint32_t i = 0; i < chunks; ++i) {
      const uint2 p = place(i);
      *reinterpret_cast<uint4*>(shared + p.x * pitch + p.y) = chunk[i];
    }
  }
};

// Four 8 x 8 matrices of a tile: 16 rows from `row` by 16 reduction elements from `k`. With RowsFirst the second matrix
// is 8 rows on (the order of A's fragment), else 8 reduction elements on (that of two of B's).
template <bool MnMajor, bool RowsFirst>
__device__ inline void mma_fragment(uint32_t (&v)[4], const uint16_t* shared, uint32_t row, uint32_t k) {
  const uint32_t lane = threadIdx.x % 32, near = lane / 8 % 2 * 8, far = lane / 16 * 8;
  const uint32_t r = row + (RowsFirst ? near : far), c = k + (RowsFirst ? far : near);
  const uint16_t* line = MnMajor ? shared + (c + lane % 8) * MmaTile<true>::pitch + r
                                 : shared + (r + lane % 8) * MmaTile<false>::pitch + c;
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(line));
  if constexpr (MnMajor) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(address)
                 : "memory");
  }
}

// D [tokens, n] (+)= B [tokens, k] . A [n, k]^T. Grid: (tiles of A's rows, tiles of tokens in strides); four warps of
// 32 rows by 32 tokens.
template <bool MnA, bool MnB, class Output>
__global__ __launch_bounds__(mma_threads) void gemm_mma(MmaOperand a, MmaOperand b, Output out) {
  __shared__ __align__(16) uint16_t tile_a[2][MmaTile<MnA>::elements], tile_b[2][MmaTile<MnB>::elements];
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t row0 = blockIdx.x * mma_tile, warp_row = warp % 2 * 32, warp_token = warp / 2 * 32;
  const uint32_t steps = (a.depth + mma_depth - 1) / mma_depth;
  for (uint32_t token0 = blockIdx.y * mma_tile; token0 < b.extent; token0 += gridDim.y * mma_tile) {
    float sum[2][16] = {};  // [m16][4 n8 + 2 h + e]
    MmaTile<MnA> next_a;
    MmaTile<MnB> next_b;
    next_a.load(a, row0, 0);
    next_b.load(b, token0, 0);
    for (uint32_t step = 0; step < steps; ++step) {
      uint16_t* const at_a = tile_a[step % 2];
      uint16_t* const at_b = tile_b[step % 2];
      next_a.store(at_a);
      next_b.store(at_b);
      // One sync a step: a tile is written again two steps on, past the sync that follows its last read.
      __syncthreads();
      if (step + 1 < steps) {
        next_a.load(a, row0, (step + 1) * mma_depth);
        next_b.load(b, token0, (step + 1) * mma_depth);
      }
#pragma unroll
      for (uint32_t k = 0; k < mma_depth; k += 16) {
        uint32_t left[2][4], right[2][4];  // right: two n8 of two registers each
#pragma unroll
        for (uint32_t i = 0; i < 2; ++i) {
          mma_fragment<MnA, true>(left[i], at_a, warp_row + i * 16, k);
          mma_fragment<MnB, false>(right[i], at_b, warp_token + i * 16, k);
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
          for (uint32_t j = 0; j < 4; ++j) {
            float* d = sum[i] + j * 4;
            asm volatile(
                "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                "{%0, %1, %2, %3};"
                : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                : "r"(left[i][0]), "r"(left[i][1]), "r"(left[i][2]), "r"(left[i][3]), "r"(right[j / 2][j % 2 * 2]),
                  "r"(right[j / 2][j % 2 * 2 + 1]));
          }
        }
      }
    }
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      out.fragment(token0 + warp_token + lane % 4 * 2, row0 + warp_row + i * 16 + lane / 4, sum[i]);
    }
    __syncthreads();  // before the next tokens' tiles are written
  }
}

}  // namespace npr::compute
