// The keys and values of every slot, on the device.
#pragma once
#include <cstdint>

#include "compute/backend.h"
#include "compute/cuda/cuda_memory.h"

namespace npr::compute {

// Per layer [2 (keys, values)][kv head][slot][head_dim], bf16: consecutive slots of a head are one stretch of memory.
// Thread safety: as a pointer.
class CudaKvPool {
 public:
  CudaKvPool() = default;
  CudaKvPool(const KvShape& shape, uint32_t slots)
      : shape_(shape), slots_(slots), data_(shape.slot_bytes() * slots, "the KV pool") {}

  const KvShape& shape() const { return shape_; }
  uint32_t slots() const { return slots_; }
  // [kv head][slot][head_dim]
  bf16* keys(uint32_t layer) const { return data_.as<bf16>() + size_t{2} * layer * part(); }
  bf16* values(uint32_t layer) const { return keys(layer) + part(); }

 private:
  size_t part() const { return size_t{shape_.kv_heads} * slots_ * shape_.head_dim; }

  KvShape shape_{};
  uint32_t slots_ = 0;
  DeviceArray data_;
};

}  // namespace npr::compute
