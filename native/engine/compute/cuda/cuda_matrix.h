// A weight matrix on the device.
#pragma once
#include <cstdint>

#include "compute/backend.h"
#include "compute/cuda/cuda_memory.h"

namespace npr::compute {

// bf16, row-major [n, k]; in memory [n rounded up to tile_n][k rounded up to tile_k], what is beyond n or k zero.
// Thread safety: as a pointer.
class CudaMatrix : public Matrix {
 public:
  static constexpr uint32_t tile_n = 128, tile_k = 64;

  // Zeros. Throws Error(invalid_checkpoint) for an empty matrix or an odd k, Error(out_of_memory).
  CudaMatrix(uint32_t n, uint32_t k);
  uint32_t n() const override { return n_; }
  uint32_t k() const override { return k_; }
  uint32_t padded_n() const { return (n_ + tile_n - 1) / tile_n * tile_n; }
  uint32_t stride() const { return (k_ + tile_k - 1) / tile_k * tile_k; }  // elements from row to row
  bf16* data() const { return data_.as<bf16>(); }

 private:
  uint32_t n_, k_;
  DeviceArray data_;
};

}  // namespace npr::compute
