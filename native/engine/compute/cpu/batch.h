// What begin() declared, for all operations that work on it.
#pragma once
#include <cstdint>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"

namespace npr::compute {

struct CpuBatch {
  uint64_t number = 0;  // counts batches
  std::vector<Slot> slots;
  std::vector<Sequence> sequences;
  std::vector<float> cos, sin;  // [rows, head_dim / 2]
  // Rows [tile_rows[i], tile_rows[i + 1]) have their slots in one tile.
  std::vector<uint32_t> tile_rows;

  uint32_t rows() const { return static_cast<uint32_t>(slots.size()); }
  Rotation rotation(uint32_t row, uint32_t head_dim) const {
    return {cos.data() + row * size_t{head_dim / 2}, sin.data() + row * size_t{head_dim / 2}};
  }
};

}  // namespace npr::compute
