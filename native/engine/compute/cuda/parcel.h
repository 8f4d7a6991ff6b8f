// Arrays of the host on their way to the device together.
#pragma once
#include <cstddef>
#include <cstring>
#include <ranges>
#include <vector>

#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/staging.h"

namespace npr::compute {

// One behind another in one copy, each at a multiple of 16 bytes. A view: they outlive send().
class Parcel {
 public:
  // Where it will lie, in bytes from the parcel's begin.
  template <std::ranges::contiguous_range Array>
  size_t add(const Array& array) {
    const size_t at = bytes_, bytes = std::ranges::size(array) * sizeof(*std::ranges::data(array));
    parts_.push_back({std::ranges::data(array), bytes, at});
    bytes_ += (bytes + 15) / 16 * 16;
    return at;
  }
  // Queues the copy, into memory that grows where it has to; `what` it is for.
  const std::byte* send(Staging& staging, DeviceArray& to, const char* what) const {
    to.reserve(bytes_, what);
    std::byte* const room = staging.room(bytes_);
    for (const Part& part : parts_) {
      if (part.bytes) std::memcpy(room + part.at, part.data, part.bytes);
    }
    staging.send(to.as<void>(), bytes_);
    return to.as<std::byte>();
  }

 private:
  struct Part {
    const void* data;
    size_t bytes, at;
  };
  std::vector<Part> parts_;
  size_t bytes_ = 0;
};

}  // namespace npr::compute
