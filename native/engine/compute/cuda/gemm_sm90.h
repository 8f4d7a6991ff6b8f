// Products with the matrix instruction of sm_90a.
//
// What an output is: k in order within each part of K, the parts' sums added in order. The number of parts depends on
// the matrix alone, so every tile below gives the same bits.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "compute/backend.h"

namespace npr::compute {

// A kernel and its tile: the number is that of its tokens. The persistent ones are for many.
enum class GemmTile {
  split8,
  split16,
  split32,
  split64,
  split128,
  split256,
  persistent128,
  persistent160,
  persistent192,
  persistent256
};
constexpr int gemm_tiles = 10;
const char* name(GemmTile tile);

// A row-major bf16 matrix on the device, rows `stride` elements apart.
struct Bf16View {
  const bf16* data;
  uint32_t rows, columns;
  uint64_t stride;
};

// Thread safety: one thread at a time. Work is queued on `stream`; nothing waits, nothing is allocated.
class GemmSm90 {
 public:
  explicit GemmSm90(cudaStream_t stream);

  // Whether this program has code for the device's matrix instruction.
  static bool available();
  // Whether tensor copies can read it.
  static bool readable(const bf16* data, uint64_t stride);

  // Whether the tile computes products with [n, k]: the widest has no registers left to add up parts of K.
  static bool fits(GemmTile tile, uint32_t n, uint32_t k);
  GemmTile choose(uint32_t rows, uint32_t n, uint32_t k) const;
  // out [x.rows, w.rows] = x . w^T, or out += that.
  void product(GemmTile tile, Bf16View x, Bf16View w, float* out, bool add) const;
  // dx [g.rows, w.columns] = g . w.
  void input(Bf16View g, Bf16View w, float* dx) const;
  // dw [g.columns, x.columns] += g^T . x.
  void weight(Bf16View g, Bf16View x, float* dw) const;

 private:
  cudaStream_t stream_;
  uint32_t multiprocessors_;
};

}  // namespace npr::compute
