// What begin() declared, for all operations that work on it.
#pragma once
#include <cstdint>
#include <vector>

#include "compute/backend.h"
#include "compute/cuda/rows.h"

namespace npr::compute {

struct CudaBatch {
  uint64_t number = 0;  // counts batches
  uint32_t rows = 0;
  std::vector<Slot> slots;  // [rows]
  std::vector<Sequence> sequences;
  rows::Rotations rotations{};  // the same slots and the rows' positions, on the device
};

}  // namespace npr::compute
