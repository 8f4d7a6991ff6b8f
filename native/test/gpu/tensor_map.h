// What this device keeps in a CUtensorMap: a matrix of which boxes are copied, lines of 128 bytes, swizzled.
#pragma once
#include <cstdint>

namespace npr::gpu {

struct TensorMap {
  static constexpr uint64_t described = 0x4e5052746d617001;

  uint64_t mark, data;
  uint64_t columns, rows, stride;  // elements, rows, bytes
  uint32_t element, box_columns, box_rows;
};
static_assert(sizeof(TensorMap) <= 128);

}  // namespace npr::gpu
